"""Measure how much an object retains, to test that memory stays bounded."""

import gc
from collections import deque
from types import FunctionType, ModuleType

_CONTAINER = bytearray | deque | dict | frozenset | list | set | tuple


def entries_of(root):
    """Count the entries of all containers that an object references, except code objects."""
    found, left, count = set(), [root], 0
    while left:
        one = left.pop()
        if id(one) not in found and not isinstance(one, type | ModuleType | FunctionType):
            found.add(id(one))
            count += len(one) if isinstance(one, _CONTAINER) else 0
            left += gc.get_referents(one)
    return count


def assert_bounded(holder, count, work):
    """Assert that an object retains hardly more after ``2 * count`` calls of ``work(k)`` than after
    `count`."""
    for k in range(count):
        work(k)
    first = entries_of(holder)
    for k in range(count, 2 * count):
        work(k)
    assert entries_of(holder) - first < count / 10
