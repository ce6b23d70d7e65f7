"""``plumewatch routes``: who would be told of what, when and why; and when nobody is on duty."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from alerts.duty.coverage import coverage_gaps
from alerts.escalation.preview import escalation_preview, quiet_words
from alerts.escalation.steps import plan
from alerts.incidents.severity import Severity, grade
from alerts.policy import PAGED
from alerts.routing.labels import LABELS, SEVERITIES, incident_labels
from detection.events import EventKind
from plumewatch.cli.exit_codes import DONE, UsageError, told
from plumewatch.cli.format_time import moment_of
from plumewatch.config.settings import escalation_timings, quiet_hours
from plumewatch.config.sharding import load_shard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping
    from pathlib import Path

    from alerts.duty.coverage import CoverageGap
    from alerts.escalation.preview import PreviewStep
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig
    from storage.registry import Room


class LabelError(UsageError):
    """What was asked is about nothing that the configuration knows."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """Who would be told of one incident, ring by ring."""

    at: datetime
    labels: Mapping[str, str]
    receivers: Mapping[str, str]
    rings: tuple[PreviewStep, ...]
    no_address: tuple[str, ...]


@told()
def run_test(config_path: Path, written: list[str], printer: Printer, *, at: str) -> int:
    """Print who would be told of an incident, ring by ring, and why.

    Parameters
    ----------
    written : list of str
        Labels as ``name=value``. A room brings its place, a sensor its room; the severity is that
        of a sure detection unless given.
    at : str
        A moment as in ``2026-09-07T10:05``, in the school's zone unless it names one; empty is now.

    Returns
    -------
    int
        0 done, 2 bad configuration or usage.
    """
    config = load_shard(config_path)
    when = moment_of(at, config.zone()) if at else datetime.now(UTC).timestamp()
    labels = _labels(config, written)
    answer = _answer(config, labels, datetime.fromtimestamp(when, UTC))
    printer.say("\n".join(_lines(answer, config)), **_fields(answer, config))
    return DONE


@told()
def run_gaps(config_path: Path, printer: Printer, *, start: str, days: int) -> int:
    """Print every lesson period in which a room has nobody on duty in reach.

    Parameters
    ----------
    start : str
        First day, as in ``2026-09-07``; empty is now.
    days : int
        How many days are looked at.

    Returns
    -------
    int
        0 done, 2 bad configuration or usage.
    """
    config = load_shard(config_path)
    first = moment_of(start, config.zone()) if start else datetime.now(UTC).timestamp()
    roster = config.roster()
    begin, end = (datetime.fromtimestamp(first + n * 86_400, UTC) for n in (0, days))
    lessons = sum(1 for _ in roster.timetable.lessons(begin, end))
    found = list(coverage_gaps(roster, all_incidents(config), begin, end, quiet_hours(config)))
    for gap in found:
        printer.say(_gap_line(gap, config), **_gap_fields(gap))
    if printer.as_json:
        return DONE
    if not roster.timetable.bells:
        printer.say("no [[bells]], so there are no lesson periods to look at")
    else:
        printer.say(f"{len(found)} gaps in {lessons} periods and {len(config.room)} rooms")
    return DONE


def _labels(config: PlumewatchConfig, written: list[str]) -> dict[str, str]:
    """Read labels, and fill in what the registry knows of them.

    Raises
    ------
    LabelError
        With what is allowed.
    """
    given: dict[str, str] = {}
    for text in written:
        name, equals, value = text.partition("=")
        if not equals or name not in LABELS:
            raise LabelError(f"{text!r} is no label; write name=value with {', '.join(LABELS)}")
        if name in given:
            raise LabelError(f"{name} is given twice")
        given[name] = value
    registry = config.registry()
    kinds = [kind.value for kind in EventKind]
    for name, known in (
        ("kind", kinds),
        ("severity", SEVERITIES),
        ("room", registry.rooms),
        ("sensor", registry.sensors),
    ):
        if name in given and given[name] not in known:
            said = ", ".join(list(known)[:30])
            raise LabelError(f"{name}={given[name]} is not known; there are {said}")
    if "kind" not in given:
        raise LabelError(f"say what happened: kind=one of {', '.join(kinds)}")
    room = registry.rooms.get(given.get("room", "")) or registry.room_of(given.get("sensor", ""))
    severity = given.get("severity", _usual(EventKind(given["kind"])))
    place = _of_room(room, given["kind"], severity, given.get("sensor", "")) if room else {}
    for name, value in given.items():
        if place.get(name, value) != value:
            raise LabelError(f"{name}={value} is not so: room {place['room']} has {place[name]}")
    return {**place, "severity": severity, **given}


def _of_room(room: Room, kind: str, severity: str, sensor: str) -> dict[str, str]:
    return incident_labels(room, kind=kind, severity=severity, sensor=sensor)


def _usual(kind: EventKind) -> str:
    """Severity of a sure detection at its beginning."""
    return grade(kind, 1.0, 0.0, 0).value


def _answer(config: PlumewatchConfig, labels: Mapping[str, str], at: datetime) -> _Answer:
    roster = config.roster()
    rings = roster.candidates(labels, at)
    severity = Severity(labels["severity"])
    steps = plan("", rings, severity, at.timestamp(), escalation_timings(config)) if rings else []
    quiet = quiet_hours(config)
    routes = roster.routes(labels)
    on_duty = [one for node in routes for one in roster.on_duty(node.receiver, at)]
    left_out = (one.person for one in on_duty if not roster.is_reachable(one.person))
    return _Answer(
        at,
        labels,
        {node.receiver: node.why() for node in routes},
        tuple(escalation_preview(steps, severity, lambda person: quiet.get(person, ())))[
            : len(rings)
        ],
        tuple(dict.fromkeys(left_out)),
    )


def _fields(answer: _Answer, config: PlumewatchConfig) -> dict[str, Any]:
    return {
        "at": answer.at.astimezone(config.zone()).isoformat(),
        "labels": dict(answer.labels),
        "told": answer.labels["kind"] in PAGED,
        "receivers": [{"receiver": r, "why": why} for r, why in answer.receivers.items()],
        "rings": [
            {
                "ring": step.ring.name,
                "after_s": due_at - answer.at.timestamp(),
                "people": [
                    {
                        "person": c.person,
                        "why": c.why,
                        "quiet": quiet_words(held[c.person], config.zone())
                        if c.person in held
                        else "",
                    }
                    for c in step.ring.people
                ],
            }
            for step, due_at, held in answer.rings
        ],
        "no_address": list(answer.no_address),
    }


def _lines(answer: _Answer, config: PlumewatchConfig) -> Iterator[str]:
    local = answer.at.astimezone(config.zone())
    said = " ".join(f"{name}={value}" for name, value in answer.labels.items())
    yield f"{local:%a %Y-%m-%d %H:%M %Z}: {said}"
    if answer.labels["kind"] not in PAGED:
        yield "recorded only: nobody is told of this kind"
        return
    for receiver, why in answer.receivers.items():
        yield f"receiver {receiver}: {why}"
    names = {person.id: person.name for person in config.staff}
    for number, (step, due_at, held) in enumerate(answer.rings, start=1):
        after_s = due_at - answer.at.timestamp()
        when = f"after {after_s:g} s if nobody answers" if after_s else "at once"
        yield f"{number}. {step.ring.name}, {when}"
        for one in step.ring.people:
            quiet = (
                f"; {quiet_words(held[one.person], config.zone())}" if one.person in held else ""
            )
            yield f"   {one.person} ({names[one.person]}): {one.why}{quiet}"
    if not answer.rings:
        yield "nobody: there is no staff"
    if answer.no_address:
        yield f"on duty, but without an address: {', '.join(answer.no_address)}"


def all_incidents(config: PlumewatchConfig) -> Iterable[Mapping[str, str]]:
    """Labels of everything that may be told, in every room."""
    return (
        _of_room(room, kind.value, _usual(kind), "")
        for room in config.registry().rooms.values()
        for kind in sorted(PAGED)
    )


def _gap_fields(gap: CoverageGap) -> dict[str, Any]:
    return {
        "room": gap.room,
        "start": gap.start.isoformat(),
        "end": gap.end.isoformat(),
        "period": gap.period,
        "kinds": list(gap.kinds),
        "receivers": list(gap.receivers),
        "no_address": list(gap.no_address),
        "quiet": list(gap.quiet),
        "instead": [c.person for c in gap.instead.people] if gap.instead else [],
    }


def _gap_line(gap: CoverageGap, config: PlumewatchConfig) -> str:
    start, end = (moment.astimezone(config.zone()) for moment in (gap.start, gap.end))
    who = ", ".join(c.person for c in gap.instead.people) if gap.instead else "nobody"
    instead = f"{gap.instead.name} ({who})" if gap.instead else who
    return (
        f"{start:%a %Y-%m-%d %H:%M}-{end:%H:%M} {gap.period}, {gap.room}: nobody of"
        f" {', '.join(gap.receivers)} for {', '.join(gap.kinds)}"
        + (f"; without an address: {', '.join(gap.no_address)}" if gap.no_address else "")
        + (f"; in quiet hours: {', '.join(gap.quiet)}" if gap.quiet else "")
        + f"; told instead: {instead}"
    )
