"""Test that a device's repeated report about itself is a single continuing event."""

import pytest

from detection.combined import (
    BATTERY_HOLD_S,
    FAULT_AFTER_S,
    FINDING_HOLD_S,
    HOLD_S,
    DeviceEvents,
)
from detection.events import EventKind, EventPhase, join_details

T = 1_790_000_000.0


def say(devices, at, *events, faults=(), sensor="s", values=None):
    return devices.on_reading(sensor, T + at, events, faults, values or {})


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("tamper", EventKind.TAMPER),
        ("vendor_vape", EventKind.VAPE),
        ("vendor_burning", EventKind.SMOKE),
        ("vendor_interference", EventKind.SPRAY),
    ],
)
def test_reported_once_and_ended_when_it_ceases(name, kind):
    devices = DeviceEvents()
    (event,) = say(devices, 0, name)
    assert (event.kind, event.phase, event.onset, event.alerted) == (
        kind, EventPhase.ALERTED, T, T,
    )  # fmt: skip
    assert sum(event.probabilities.values()) <= 1
    assert join_details(event.details)
    last, over = FINDING_HOLD_S, FINDING_HOLD_S + HOLD_S
    assert say(devices, last, name) == []
    assert devices.on_time(T + over) == []
    (ended,) = devices.on_time(T + over + 1)
    assert (ended.phase, ended.id, ended.end) == (EventPhase.ENDED, event.id, T + last)
    assert ended.time == T + over
    assert devices.on_time(T + 9 * HOLD_S) == []


def test_ended_by_the_next_report_as_by_time():
    one, other = DeviceEvents(), DeviceEvents()
    for devices in (one, other):
        say(devices, 0, "tamper")
    by_time = other.on_time(T + 5000) + say(other, 5000, "tamper")
    assert say(one, 5000, "tamper") == by_time
    assert [e.phase for e in by_time] == [EventPhase.ENDED, EventPhase.ALERTED]
    assert by_time[0].id != by_time[1].id


@pytest.mark.parametrize("name", ["online", "offline", "restart", "never heard of"])
def test_liveness_is_no_event_of_the_air(name):
    assert say(DeviceEvents(), 0, name) == []


def test_vendor_vape_brings_its_index():
    (event,) = say(DeviceEvents(), 0, "vendor_vape", values={"vape_index": 87.0})
    assert event.evidence["vape_index"].peak_excess == 87.0
    (event,) = say(DeviceEvents(), 0, "tamper", values={"vape_index": 87.0})
    assert event.evidence == {}


def test_a_fault_is_reported_only_after_it_lasted():
    devices = DeviceEvents()
    assert say(devices, 0, faults=("pm25",)) == []
    assert say(devices, FAULT_AFTER_S - 1, faults=("fault:pm25",)) == []
    (event,) = say(devices, FAULT_AFTER_S, faults=("pm25",))
    assert event.kind is EventKind.SENSOR_FAULT
    assert event.onset == T
    assert "PM2.5" in join_details(event.details)
    assert say(devices, FAULT_AFTER_S + 1, faults=("pm25",)) == []
    (ended,) = devices.on_time(T + FAULT_AFTER_S + 1 + HOLD_S + 1)
    assert (ended.phase, ended.id) == (EventPhase.ENDED, event.id)


def test_two_readings_are_not_enough_and_a_short_fault_ends_silently():
    devices = DeviceEvents()
    assert say(devices, 0, faults=("pm25",)) == []
    assert say(devices, 500, faults=("pm25",)) == []
    assert devices.on_time(T + 5000) == []


def test_snapshot_in_the_middle():
    one = DeviceEvents()
    say(one, 0, "tamper", faults=("rh",))
    say(one, 60, faults=("rh",))
    other = DeviceEvents.restore(one.snapshot())
    assert other.snapshot() == one.snapshot()
    assert say(other, 130, "tamper", faults=("rh",)) == say(one, 130, "tamper", faults=("rh",))
    assert other.on_time(T + 5000) == one.on_time(T + 5000)


def charges(devices, *reported):
    """Return the events for battery reports at ten-minute intervals."""
    found = []
    for k, charge in enumerate(reported):
        found += say(devices, 600 * k, values={"battery": charge})
    return [(e.phase.value, join_details(e.details)) for e in found]


@pytest.mark.parametrize(
    ("reported", "events"),
    [
        ([80, 40, 16], []),
        ([15, 80, 15, 80], []),
        ([15, 14], [("alerted", "the battery is at 14%")]),
        ([15, 14, 16, 15, 24, 14], [("alerted", "the battery is at 14%")]),
        (
            [15, 14, 25, 15, 14],
            [
                ("alerted", "the battery is at 14%"),
                ("ended", "the battery is at 25%"),
                ("alerted", "the battery is at 14%"),
            ],
        ),
    ],
)
def test_a_low_battery_is_one_event_until_it_is_good_again(reported, events):
    assert charges(DeviceEvents(), *reported) == events


def test_a_battery_that_nobody_speaks_of_any_more():
    devices = DeviceEvents()
    assert charges(devices, 10, 9) == [("alerted", "the battery is at 9%")]
    assert devices.on_time(T + 600 + BATTERY_HOLD_S) == []
    (ended,) = DeviceEvents.restore(devices.snapshot()).on_time(T + 601 + BATTERY_HOLD_S)
    assert (ended.kind, ended.phase) == (EventKind.SENSOR_FAULT, EventPhase.ENDED)
