"""What devices say of their firmware: a text nobody vouches for, and news only when it changes.

A format says it with its measurements (AirGradient), in a frame of its own after a join
(Milesight), or in a description that somebody else publishes (Zigbee2MQTT, Home Assistant
discovery). Described versions wait in `States.firmware`, by sensor or by topic, and are reported
with a reading of the sensor, so that a device that is only described is not taken for one that
lives.

A reading goes into the journal with a version only if its sensor has not reported this one last.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import msgspec

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from storage.reading import Reading

MAX_VERSION: Final = 64
"""Characters of a version."""
BAD_FIRMWARE: Final = "bad_firmware"
"""Flag of readings whose device names a firmware that is no version."""
_NO_NEWS: Final = frozenset({"late", "history", "simulated", "unknown_sensor"})
"""Flags of readings that do not say what a sensor runs now."""


def version_of(text: object) -> str | None:
    r"""Return what a device calls its firmware, on one line.

    >>> version_of(" 14.2.0(tasmota) "), version_of(None), version_of("1.0\x00")
    ('14.2.0(tasmota)', '', None)
    """
    if text is None or text == "":
        return ""
    if type(text) is not str or len(text) > 4 * MAX_VERSION:
        return None
    version = " ".join(text.split())
    fits = len(version) <= MAX_VERSION and version.isascii() and version.isprintable()
    return version if fits else None


class FirmwareNews:
    """Lets a version pass once, and again when it changes; pure."""

    def __init__(self) -> None:
        self._known: dict[str, str] = {}

    @property
    def known(self) -> Mapping[str, str]:
        """Version that each sensor reported last, by sensor."""
        return self._known

    def restore(self, known: Mapping[str, str]) -> None:
        """Know what each sensor reported last, besides what is known already."""
        self._known = {**known, **self._known}

    def read_tail(self, tail: Iterable[Reading]) -> None:
        """Know what the tail of the journal tells, oldest first."""
        for reading in tail:
            if reading.firmware:
                self._known[reading.sensor] = reading.firmware

    def on_reading(self, reading: Reading, described: str = "") -> Reading:
        """Return a reading with its version if that is news, and without it if not."""
        version = reading.firmware or described
        if not version:
            return reading
        doubtful = reading.flags and not _NO_NEWS.isdisjoint(reading.flags)
        if doubtful or version == self._known.get(reading.sensor):
            version = ""
        else:
            self._known[reading.sensor] = version
        if version == reading.firmware:
            return reading
        return msgspec.structs.replace(reading, firmware=version)
