"""What an object holds on to, for tests that something stays bounded."""

import gc
from types import FunctionType, ModuleType


def objects_of(root):
    """Count the objects that one holds, directly or not; not code."""
    found, left = set(), [root]
    while left:
        one = left.pop()
        if id(one) not in found and not isinstance(one, type | ModuleType | FunctionType):
            found.add(id(one))
            left += gc.get_referents(one)
    return len(found)


def assert_bounded(holder, count, work):
    """Assert that twice as many calls of ``work(k)`` let an object hold no more than `count` do."""
    for k in range(count):
        work(k)
    first = objects_of(holder)
    for k in range(count, 2 * count):
        work(k)
    assert objects_of(holder) <= 1.02 * first
