"""Made-up detections; incidents, notices, answers and escalations follow from them.

The same `AlertEngine` as in service makes them, on the clock of the made-up days.
"""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Final

from plumewatch.cli.printer import progress

if TYPE_CHECKING:
    import random
    import sqlite3
    from collections.abc import Callable, Iterator

    from alerts.engine import AlertEngine
    from detection.events import Event
    from plumewatch.config.model import PlumewatchConfig

_ALERTS_A_DAY: Final = 2.0

_APART_S: Final = 1800.0

_SETTLED_S: Final = 5400.0

_HOURS: Final = (8, 9, 9, 10, 11, 11, 11, 12, 13, 14)
"""Hours of the day in which alerts begin; breaks and lunch more often."""

_OTHERS: Final = (("smoke", 0.02), ("tamper", 0.04), ("sensor_fault", 0.08), ("offline", 0.08))
"""Other kinds, and how many a school day."""

_VERDICTS: Final = {"confirmed": 50, "nothing_found": 28, "false_alarm": 20, "test": 2}
"""Findings, by weight."""

_CAUSES: Final = ("spray", "spray", "steam", "sanitizer", "dust")

_ACTIONS: Final = ("referral", "referral", "nurse", "none")


@dataclass(frozen=True, slots=True)
class Detection:
    """A made-up detection."""

    at: float
    kind: str
    sensor: str
    lasts_s: float
    top: float


def moment(day: date, hour: float, config: PlumewatchConfig) -> float:
    """Return the Unix time of an hour of a school day."""
    start = datetime(day.year, day.month, day.day, tzinfo=config.zone())
    return start.astimezone(UTC).timestamp() + hour * 3600


def made_up_detections(
    config: PlumewatchConfig, first: date, last: date, rng: random.Random
) -> Iterator[Detection]:
    """Make up the detections of all days, in order, far enough apart to be incidents each."""
    sensors = [sensor.id for sensor in config.sensor]
    weights = [3.0 if k % 4 == 1 else 1.0 for k in range(len(sensors))]
    before = 0.0
    for number in range((last - first).days):
        day = first + timedelta(days=number)
        if day.weekday() >= 5:
            continue
        found = [("vape", _ALERTS_A_DAY / 4)] * 4 + list(_OTHERS)
        hours = sorted((rng.choice(_HOURS) + rng.random(), *one) for one in found)
        for hour, kind, chance in hours:
            at = moment(day, hour, config)
            if rng.random() < chance and at > before + _APART_S:
                before = at
                sensor = rng.choices(sensors, weights)[0]
                yield Detection(at, kind, sensor, rng.uniform(60, 240), rng.uniform(25, 160))


def fill_state(
    config: PlumewatchConfig, first: date, alerts: list[Detection], rng: random.Random
) -> int:
    """Let the alert engine make incidents of the detections, and people answer most of them."""
    from alerts.engine import AlertEngine
    from alerts.secrets import Secret
    from plumewatch.config.paths import DataPaths
    from plumewatch.config.settings import alert_policy
    from plumewatch.service.data_folder import prepare_state
    from storage import audit
    from storage.files import make_private_folder
    from storage.sqlite import connect, transaction

    policy = alert_policy(config)
    nowhere = (Secret("json://127.0.0.1:9/nobody"),)  # notices are marked as sent, none is
    staff = tuple(replace(m, targets=nowhere) if m.role != "analyst" else m for m in policy.staff)
    engine = AlertEngine(config.registry(), replace(policy, staff=staff))
    make_private_folder(config.data_dir)
    with closing(connect(DataPaths(config.data_dir).state)) as database:
        prepare_state(database)
        with transaction(database) as tx:
            start = moment(first, 0, config)
            audit.append(tx, audit.AuditKind.START, "sample-data", {}, start)
        with progress("incidents", len(alerts)) as update:
            for number, alert in enumerate(alerts):
                with transaction(database) as tx:
                    _live(tx, engine, alert, rng)
                update(completed=number + 1)
        return int(database.execute("SELECT count(*) FROM incident").fetchone()[0])


def _live(
    tx: sqlite3.Connection, engine: AlertEngine, alert: Detection, rng: random.Random
) -> None:
    """Let one detection begin, be answered and end, with every deadline between."""
    from detection.events import EventPhase

    event = _event(alert)
    over = alert.at + alert.lasts_s
    records = engine.on_events(tx, [event], alert.at)
    _deliver(tx, engine, alert.at + 1.2)
    ended = replace(event, phase=EventPhase.ENDED, end=over, time=over)
    steps: list[tuple[float, Callable[[float], object]]] = [
        (over, lambda at: engine.on_events(tx, [ended], at))
    ]
    if records:
        steps += _answers(tx, engine, records[0].incident, alert, rng)
    for at, act in sorted(steps, key=lambda step: step[0]):
        _wait(tx, engine, at)
        act(at)
        _deliver(tx, engine, at + 1.0)
    _wait(tx, engine, alert.at + _SETTLED_S)


def _answers(
    tx: sqlite3.Connection, engine: AlertEngine, incident: str, alert: Detection, rng: random.Random
) -> Iterator[tuple[float, Callable[[float], object]]]:
    """Make up what people do about an incident, most of the time."""
    from alerts.incidents.incident import ActionClass, Verdict

    by = "custodian" if alert.kind not in ("vape", "smoke") else rng.choice(("ap", "monitor"))
    taken = alert.at + 10 + rng.lognormvariate(3.6, 0.6)
    if rng.random() < 0.14:
        return
    yield taken, lambda at: engine.acknowledge(tx, incident, by, at, channel="link")
    arrived = taken + 20 + rng.lognormvariate(4.2, 0.5)
    if rng.random() < 0.8:
        yield arrived, lambda at: engine.arrive(tx, incident, by, at, channel="link")
    if alert.kind != "vape" or rng.random() < 0.15:
        return
    verdict = Verdict(rng.choices(list(_VERDICTS), list(_VERDICTS.values()))[0])
    cause = rng.choice(_CAUSES) if verdict is Verdict.FALSE_ALARM else ""
    said = arrived + rng.uniform(30, 120)
    yield said, lambda at: engine.feedback(tx, incident, by, verdict, at, cause=cause)
    if verdict is Verdict.CONFIRMED:
        action = ActionClass(rng.choice(_ACTIONS))
        yield said + 300, lambda at: engine.followed(tx, incident, by, action, at)


def _event(alert: Detection) -> Event:
    from detection.events import ChannelEvidence, Event, EventKind, EventPhase

    health = {
        "tamper": "the housing was opened",
        "sensor_fault": "PM2.5 frozen: the same value for 30 minutes",
        "offline": "no reading for 2 min, it reports every 5 s",
    }
    evidence = {
        "pm25": ChannelEvidence(5.0, alert.top, 8.0, 25.0 + alert.lasts_s / 8),
        "voc_index": ChannelEvidence(98.0, alert.top / 5, 12.0, None),
        "rh": ChannelEvidence(41.0, 0.2, 5.0, None),
    }
    likely = {alert.kind: 0.88, "steam": 0.05, "spray": 0.04}
    is_air = alert.kind not in health
    return Event(
        sensor=alert.sensor,
        kind=EventKind(alert.kind),
        phase=EventPhase.ALERTED,
        onset=alert.at - 12.0,
        alerted=alert.at,
        peak_time=alert.at,
        end=None,
        confidence=0.88 if is_air else 1.0,
        probabilities=likely if is_air else {alert.kind: 1.0},
        evidence=evidence if is_air else {},
        model_version="made-up",
        detail=health.get(alert.kind, ""),
        time=alert.at,
    )


def _deliver(tx: sqlite3.Connection, engine: AlertEngine, at: float) -> None:
    """Mark all notices that are due as sent."""
    from alerts.notify import outbox

    for row in outbox.lease(tx, at, owner="sample", lease_s=60, limit=100, free=lambda _: 100):
        if outbox.sent(tx, row, at):
            engine.delivered(tx, row, at)


def _wait(tx: sqlite3.Connection, engine: AlertEngine, until: float) -> None:
    """Let every deadline before a moment pass."""
    for _ in range(1000):
        due = engine.next_deadline(tx)
        if due is None or due > until:
            return
        engine.on_time(tx, due)
        _deliver(tx, engine, due + 1.0)
