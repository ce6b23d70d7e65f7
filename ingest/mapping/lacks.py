"""What is not read of a device, and what that means for its sensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from detection.quantities import FINE_PARTICLES

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from ingest.mapping.schema import MappingConfig

MEANING: Final = {
    "particles": "no particles are read, so a sensor that nothing else reads cannot detect vaping",
    "time": "no time is read, so the receive time counts",
}


def lacking(quantities: Collection[str], *, has_time: bool) -> list[str]:
    """Return what of `MEANING` a device does not send, or nothing reads."""
    has_particles = not set(FINE_PARTICLES).isdisjoint(quantities)
    return [word for word, has in zip(MEANING, (has_particles, has_time), strict=True) if not has]


def lacking_in(mappings: Sequence[MappingConfig]) -> dict[str, list[str]]:
    """Return the names of mappings by what they lack.

    A mapping that reads no values, such as of a door, lacks nothing. No particles are lacking where
    another mapping of the same sensor reads them, as the examples show, or where the device sends
    alarms of its own.
    """
    lacks: dict[str, list[str]] = {word: [] for word in MEANING}
    detecting: set[str | None] = set()
    for mapping in mappings:
        read = [field.quantity for field in mapping.field]
        words = lacking(read, has_time=bool(mapping.time or mapping.time_or))
        if any(event.event == "vendor_vape" for event in mapping.event):
            words = [word for word in words if word != "particles"]
        for word in words if read else ():
            lacks[word].append(mapping.name)
        if "particles" not in words:
            detecting |= {example.sensor for example in mapping.example}
    detecting.discard(None)
    seen = {m.name for m in mappings if detecting & {example.sensor for example in m.example}}
    lacks["particles"] = [name for name in lacks["particles"] if name not in seen]
    return lacks
