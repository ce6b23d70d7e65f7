"""What an object holds on to, for tests that something stays bounded."""

import gc
from collections import deque
from types import FunctionType, ModuleType

_CONTAINER = bytearray | deque | dict | frozenset | list | set | tuple


def entries_of(root):
    """Count the entries of all containers that one holds, directly or not; not those of code."""
    found, left, count = set(), [root], 0
    while left:
        one = left.pop()
        if id(one) not in found and not isinstance(one, type | ModuleType | FunctionType):
            found.add(id(one))
            count += len(one) if isinstance(one, _CONTAINER) else 0
            left += gc.get_referents(one)
    return count


def assert_bounded(holder, count, work):
    """Assert that of twice as many calls of ``work(k)`` an object holds no more than of `count`."""
    for k in range(count):
        work(k)
    first = entries_of(holder)
    for k in range(count, 2 * count):
        work(k)
    assert entries_of(holder) - first < count / 10
