"""Test all detectors on one stream, undivided, split by building, and across a restart."""

import zlib

import msgspec
import numpy as np

from detection.combined import CombinedDetector, Stream
from detection.model import Model
from detection.quantities import COLUMNS
from tests.support.recorded import of_the_service, recorded, registry

SLOW = ("ambient-1", "faults-1")


def place(sensor):
    room = registry().find_room(sensor)
    return room.building, room.id


def stream_of(readings):
    names = sorted({r.sensor for r in readings})
    values = np.full((len(readings), len(COLUMNS)), np.nan)
    for k, reading in enumerate(readings):
        for key, value in reading.values.items():
            values[k, COLUMNS.index(key)] = value
    values.flags.writeable = False
    return Stream(
        names,
        np.array([names.index(r.sensor) for r in readings], np.int32),
        np.array([r.time for r in readings]),
        np.array([r.received for r in readings]),
        values,
        {k: (r.events, r.faults) for k, r in enumerate(readings) if r.events or r.faults},
    )


def summaries(events):
    """Return the events, for slow detectors without the minute's last reading."""
    return sorted(
        (e.id, e.phase.value, e.onset, e.confidence, e.explained_by)
        + (() if e.model_version in SLOW else (e.time, e.alerted, e.end, str(e.evidence)))
        for e in events
    )


def with_wrong_clocks(readings):
    """Return readings from devices with clocks that are right, ahead, behind, or set back."""
    kinds = {s: k % 4 for k, s in enumerate(sorted({r.sensor for r in readings}))}
    middle = readings[len(readings) // 2].time

    def off(reading):
        return (
            0.0,
            0.2 + zlib.crc32(reading.sensor.encode()) % 14 / 10.0,
            -40.0,
            1.5 if reading.time < middle else -600.0,
        )[kinds[reading.sensor]]

    return [msgspec.structs.replace(r, time=r.time + off(r)) for r in readings]


def test_any_division_by_building_detects_the_same_as_the_service():
    readings = with_wrong_clocks(recorded())
    whole = of_the_service(readings)
    parts = []
    for building in ("North", "South", "Gym"):
        detectors = CombinedDetector(place)
        own = [r for r in readings if place(r.sensor)[0] == building]
        cut = zlib.crc32(building.encode()) % len(own)
        for batch in (own[:cut], own[cut:]):
            parts += detectors.step(stream_of(batch))
            state = detectors.get_state()
            detectors = CombinedDetector.restore(state, place)
    kinds = {e.kind.value for e in whole}
    assert {"vape", "spray", "tamper", "sensor_fault"} <= kinds
    expected = [e for e in summaries(whole) if e[1] == "alerted"]
    assert [e for e in summaries(parts) if e[1] == "alerted"] == expected
    assert not set(summaries(parts)) - set(summaries(whole))


def test_a_report_of_signal_strength_alone_makes_no_air_reading_old():
    """The device's clock stamps its readings a minute late; its state messages have no time."""
    readings = [msgspec.structs.replace(r, time=r.time - 60.0) for r in recorded()[:6000]]
    mixed = []
    for k, reading in enumerate(readings):
        mixed.append(reading)
        if k % 7 == 0:
            values = {"rssi": -60.0}
            mixed.append(msgspec.structs.replace(reading, time=reading.received, values=values))
    kinds = [
        sorted(
            (e.sensor, e.kind.value, e.phase.value, e.onset, e.alerted, e.end or 0.0)
            for e in of_the_service(given)
            if e.model_version == Model.load_shipped().version
        )
        for given in (readings, mixed)
    ]
    assert kinds[0] == kinds[1]
    assert kinds[0]


def test_names_that_grow_in_place_are_looked_up_again():
    readings = recorded()[:400]
    first, second = CombinedDetector(place), CombinedDetector(place)
    stream = stream_of(readings)
    first.step(stream)
    names = list(stream.names[:2])
    for wanted in (stream.names[:2], stream.names):
        names[:] = wanted
        known = [r for r in readings if r.sensor in names]
        part = stream_of(known)
        at = np.array([names.index(n) for n in part.names], np.int32)
        second.step(Stream(names, at[part.sensor], part.time, part.received, part.values, {}))
    assert sorted(second.plumes.names) == sorted(first.plumes.names)
