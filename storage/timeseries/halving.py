"""Store what a store takes of a batch, and find what it refuses, outside the writer's loop."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

from storage.errors import BatchRefusedError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")


def store_halving(
    store: Callable[[Sequence[T]], None], batch: Sequence[T]
) -> list[tuple[T, BatchRefusedError]]:
    """Store a batch; one that is refused is halved until what is refused stands alone.

    Parameters
    ----------
    store : callable
        Stores a batch, again without effect.

    Returns
    -------
    list of tuple
        What was refused, and why; all else is stored.

    Raises
    ------
    StorageUnavailableError
        From `store`; some of the batch may be stored.
    """
    try:
        store(batch)
    except BatchRefusedError as error:
        if len(batch) == 1:
            return [(batch[0], error)]
        half = len(batch) // 2
        return store_halving(store, batch[:half]) + store_halving(store, batch[half:])
    return []
