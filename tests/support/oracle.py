"""Check the invariant after any fault: compare the publisher's ledger with the stored data."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

from alerts.consumer.detection_consumer import CONSUMER
from ingest.integrity import FINDINGS
from storage.journal import DeadLetter, Journal, load_cursor
from storage.reading import Reading
from storage.sqlite import connect
from tests.support import alert_records
from tests.support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from tests.support.service import Publisher, Receiver, ServiceProcess

__all__ = [
    "assert_all_stored",
    "assert_notified",
    "detected_upto",
    "incidents",
    "letters_of",
    "of_service",
    "quiet_reading",
    "reaches",
]

SETTLE_S = 60.0


def quiet_reading(sensor: str, seq: int, at: float | None = None) -> Reading:
    """Return a reading of clean air at time `at`, by default within the last minutes.

    Hundreds of readings within one second would count as a flood.
    """
    at = time.time() - 500 + seq % 500 if at is None else at
    return Reading(sensor, at, 0, {"pm25": 4.0, "rh": 41.0}, seq=seq)


def detected_upto(service: ServiceProcess) -> int:
    """Return the journal offset of the last reading that the detectors have committed."""
    with contextlib.closing(connect(service.folder / "data/state.db", read_only=True)) as found:
        return load_cursor(found, CONSUMER)


def incidents(service: ServiceProcess, kind: str = "vape") -> list[tuple[str, str, str]]:
    """Return the id, room and status of all incidents of a kind, oldest first."""
    with contextlib.closing(connect(service.folder / "data/state.db", read_only=True)) as found:
        return alert_records.incidents(found, "id", "room", "status", kind=kind)


def letters_of(journal: Journal, most: int = 100) -> list[DeadLetter]:
    """Return a journal's most recent dead letters, newest first."""
    rows = journal.fetch_rows(
        "SELECT received, topic, reason, detail, decoder, size, payload FROM dead_letter"
        " ORDER BY id DESC LIMIT ?",
        most,
    )
    return [DeadLetter(*row) for row in rows]


def reaches(
    goal: int,
    count: Callable[[], int],
    what: str,
    service: ServiceProcess,
    within_s: float = SETTLE_S,
) -> None:
    """Wait until a count reaches its goal; fail only if it does not change for `within_s`."""
    while (before := count()) != goal:
        eventually(
            lambda n=before: count() != n,
            lambda n=before: f"{n} of {goal} {what}\n{service.log[-3000:]}",
            within_s,
        )


def of_service(reading: Reading) -> bool:
    """Return whether the service itself wrote this reading, to report a fault."""
    return not FINDINGS.isdisjoint(reading.events)


def in_series(service: ServiceProcess) -> int:
    """Count all readings in the series."""
    return service.series().total()


def assert_all_stored(service: ServiceProcess, publisher: Publisher) -> None:
    """Assert that every acknowledged reading is stored once and reaches every consumer.

    Parameters
    ----------
    service : ServiceProcess
        The running service; a new reading must pass through it as well.
    publisher : Publisher
        The broker has acknowledged or will acknowledge everything that it sent. Keys of messages
        that become dead letters begin with ``"bad"``.
    """
    publisher.settle(SETTLE_S)
    fresh = 10**9 + time.time_ns() % 10**9
    publisher.send_readings([quiet_reading("n2-boys-2", fresh)])
    publisher.settle(SETTLE_S)
    acknowledged = Counter(key for key in publisher.acknowledged if key[0] != "bad")
    assert max(acknowledged.values()) == 1, "the test itself must number every reading once"

    def stored() -> Counter[tuple[str, int | None]]:
        """Count readings, except the service's own reports about the broker."""
        return Counter((r.sensor, r.seq) for r in service.journal() if not of_service(r))

    eventually(
        lambda: not acknowledged - stored(),
        lambda: f"lost: {sorted((acknowledged - stored()).items())[:9]}\n{service.log[-3000:]}",
        SETTLE_S,
    )
    extra = stored() - acknowledged
    assert not extra, f"stored twice or made up: {sorted(extra.items())[:9]}"
    findings = sum(of_service(r) for r in service.journal())
    total = stored().total() + findings
    reaches(total, lambda: in_series(service), "in the series", service)
    reaches(len(service.journal()), lambda: detected_upto(service), "evaluated", service)


def assert_notified(
    service: ServiceProcess,
    receiver: Receiver,
    *,
    rooms: Sequence[str],
    kills: int,
    besides: Collection[str] = (),
) -> None:
    """Assert one incident per room, each with one notice, plus at most one more notice per kill.

    There may also be notices of incidents of the kinds `besides`.
    """

    def opened() -> Counter[str]:
        pushes = receiver.pushes
        return Counter(p["incident"] for p in pushes if p["reason"] == "opened" and is_vape(p))

    def is_vape(push: dict[str, Any]) -> bool:
        return push["kind"] == "vape"

    eventually(
        lambda: len(incidents(service)) >= len(rooms) and len(opened()) >= len(rooms),
        lambda: f"{incidents(service)}, notified {opened()}\n{service.log[-3000:]}",
        SETTLE_S,
    )
    found = incidents(service)
    assert sorted(room for _, room, _ in found) == sorted(rooms), found
    notified = opened()
    assert set(notified) == {name for name, _, _ in found}
    assert notified.total() <= len(rooms) + kills, notified
    others = {p["kind"] for p in receiver.pushes if not is_vape(p)}
    assert others <= set(besides), others
    eventually(
        lambda: {status for _, _, status in incidents(service)} <= {"notified", "resolved"},
        lambda: f"still not marked as notified: {incidents(service)}",
        SETTLE_S,
    )
