"""`plumewatch timeline`, `routes`, `staff` and `token`: who is notified, may sign in or call."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import Argument, Option

from ingest.errors import RefusedError
from plumewatch.cli.exit_codes import UNREACHABLE
from plumewatch.cli.options import CONFIG, ConfigOption, JsonOption, command, group
from plumewatch.cli.printer import Printer
from plumewatch.cli.site import Site
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alerts.escalation.coverage import CoverageGap
    from alerts.escalation.preview import PreviewStep
    from plumewatch.config.model import PlumewatchConfig

app = typer.Typer()
routes_app = group("Who is notified of what, when and why.")
staff_app = group("Who may sign in on the staff page.")
app.add_typer(routes_app, name="routes")
token_app = group("Which programs may call the HTTP API (docs/api.md).")
app.add_typer(staff_app, name="staff")
app.add_typer(token_app, name="token")


@command(
    app,
    "timeline",
    "plumewatch timeline --room N2-boys --kind vape",
    "plumewatch timeline --at 2026-09-07T10:05 --json",
)
def timeline(
    config: ConfigOption = CONFIG,
    room: Annotated[str, Option(help="Id of a room; the first one if empty.")] = "",
    kind: Annotated[str, Option(help="Kind of the detection.")] = "vape",
    at: Annotated[str, Option(help="Local time, 2026-09-07T10:05.")] = "",
    *,
    as_json: JsonOption = False,
) -> None:
    """Print who would be notified when after an alert, and what limits the notices."""
    from alerts.escalation.preview import timeline as timeline_lines
    from detection.events import EventKind
    from plumewatch.config.settings import alert_policy

    site = Site.load(config)
    policy = alert_policy(site.config)
    rooms = site.config.registry().rooms
    kinds = sorted(k.value for k in policy.pages)
    faults = []
    if room and room not in rooms:
        faults.append(f"--room: {room!r}: one of {', '.join(sorted(rooms)[:20])}")
    if kind not in kinds:
        faults.append(f"--kind: {kind!r}: one of {', '.join(kinds)}")
    when = time.time()
    try:
        when = site.parse_time(at) if at else when
    except UsageError as error:
        faults.append(f"--at: {error}")
    if faults:
        raise UsageError("\n".join(faults))
    where = rooms[room] if room else next(iter(rooms.values()))
    printer = Printer(as_json=as_json)
    for line in timeline_lines(policy, where, EventKind(kind), when):
        printer.say(line, room=where.id, kind=kind, at=when, says=line)


@command(
    routes_app, "test", "plumewatch routes test --at 2026-09-07T10:05 room=N2-boys kind=vape --json"
)
def routes_test(
    labels: Annotated[list[str], Argument(help="What happened, as in: room=N2-boys kind=vape")],
    config: ConfigOption = CONFIG,
    *,
    at: Annotated[
        str, Option(help="As in 2026-09-07T10:05, in the school's zone; now if empty.")
    ] = "",
    as_json: JsonOption = False,
) -> None:
    """Print who would be notified of an incident, in what order, and why."""
    from alerts.escalation.preview import escalation_preview, quiet_words
    from alerts.escalation.steps import plan
    from alerts.policy import PAGED
    from alerts.severity import Severity
    from plumewatch.config.settings import escalation_timings, quiet_hours

    site = Site.load(config)
    found = _labels(site.config, labels)
    when = site.parse_time(at) if at else time.time()
    moment = datetime.fromtimestamp(when, UTC).astimezone(site.config.zone())
    roster, quiet = site.config.roster(), quiet_hours(site.config)
    rings = roster.candidates(found, moment)
    severity = Severity(found["severity"])
    steps = plan("", rings, severity, when, escalation_timings(site.config)) if rings else []
    routes = roster.routes(found)
    on_duty = [one for node in routes for one in roster.on_duty(node.receiver, moment)]
    unreachable = dict.fromkeys(c.person for c in on_duty if not roster.is_reachable(c.person))
    answer = {
        "at": moment.isoformat(),
        "labels": found,
        "told": found["kind"] in PAGED,
        "receivers": [{"receiver": node.receiver, "why": node.why()} for node in routes],
        "rings": [
            _ring(step, when, lambda held: quiet_words(held, site.config.zone()))
            for step in list(escalation_preview(steps, severity, lambda p: quiet.get(p, ())))[
                : len(rings)
            ]
        ],
        "no_address": list(unreachable),
    }
    names = {person.id: person.name for person in site.config.staff}
    lines = [f"{moment:%a %Y-%m-%d %H:%M %Z}: {' '.join(f'{k}={v}' for k, v in found.items())}"]
    Printer(as_json=as_json).say("\n".join([*lines, *_answer_lines(answer, names)]), **answer)


def _ring(step: PreviewStep, at: float, quiet_text: Callable[[Any], str]) -> dict[str, Any]:
    people = [
        {
            "person": c.person,
            "why": c.why,
            "quiet": quiet_text(step.deferred[c.person]) if c.person in step.deferred else "",
        }
        for c in step.step.ring.people
    ]
    return {"ring": step.step.ring.name, "after_s": step.due_at - at, "people": people}


def _answer_lines(answer: dict[str, Any], names: dict[str, str]) -> Iterator[str]:
    if not answer["told"]:
        yield "recorded only: nobody is notified of this kind"
        return
    for route in answer["receivers"]:
        yield f"receiver {route['receiver']}: {route['why']}"
    for number, ring in enumerate(answer["rings"], start=1):
        after_s = ring["after_s"]
        when = f"after {after_s:g} s if nobody responds" if after_s else "at once"
        yield f"{number}. {ring['ring']}, {when}"
        for one in ring["people"]:
            quiet = f"; {one['quiet']}" if one["quiet"] else ""
            yield f"   {one['person']} ({names[one['person']]}): {one['why']}{quiet}"
    if not answer["rings"]:
        yield "nobody: there is no staff"
    if answer["no_address"]:
        yield f"on duty, but without an address: {', '.join(answer['no_address'])}"


def _labels(config: PlumewatchConfig, words: list[str]) -> dict[str, str]:
    """Read labels, and add what the registry knows of the room or sensor."""
    from alerts.routing.labels import LABELS, SEVERITIES, incident_labels
    from alerts.severity import grade
    from detection.events import EventKind

    given: dict[str, str] = {}
    for text in words:
        name, equals, value = text.partition("=")
        if not equals or name not in LABELS:
            raise UsageError(f"{text!r} is not a label; write name=value with {', '.join(LABELS)}")
        if name in given:
            raise UsageError(f"{name} is given twice")
        given[name] = value
    registry = config.registry()
    kinds = [kind.value for kind in EventKind]
    allowed = {
        "kind": kinds,
        "severity": SEVERITIES,
        "room": registry.rooms,
        "sensor": registry.sensors,
    }
    for name, known in allowed.items():
        if name in given and given[name] not in known:
            some = ", ".join(list(known)[:30])
            raise UsageError(f"{name}={given[name]} is not known; allowed: {some}")
    if "kind" not in given:
        raise UsageError(f"what happened is missing: kind=one of {', '.join(kinds)}")
    sensor = given.get("sensor", "")
    room = registry.rooms.get(given.get("room", "")) or registry.room_of(sensor)
    kind = EventKind(given["kind"])
    severity = given.get("severity", grade(kind, 1.0, 0.0, 0).value)
    place = {}
    if room is not None:
        place = incident_labels(room, kind=kind.value, severity=severity, sensor=sensor)
    for name, value in given.items():
        if place.get(name, value) != value:
            raise UsageError(f"{name}={value} is wrong: room {place['room']} has {place[name]}")
    return {**place, "severity": severity, **given}


@command(
    routes_app,
    "gaps",
    "plumewatch routes gaps",
    "plumewatch routes gaps --from 2026-09-07 --days 30",
)
def routes_gaps(
    config: ConfigOption = CONFIG,
    *,
    start: Annotated[str, Option("--from", help="First day, as in 2026-09-07.")] = "",
    days: Annotated[int, Option(min=1, max=400, help="Number of days.")] = 14,
    as_json: JsonOption = False,
) -> None:
    """List every lesson period in which nobody on duty can be notified about a room."""
    from alerts.escalation.coverage import coverage_gaps, paged_incidents
    from plumewatch.config.settings import quiet_hours

    site, printer = Site.load(config), Printer(as_json=as_json)
    first = site.parse_time(start) if start else time.time()
    roster, rooms = site.config.roster(), site.config.registry().rooms.values()
    begin, end = (datetime.fromtimestamp(first + n * 86_400, UTC) for n in (0, days))
    found = list(
        coverage_gaps(roster, paged_incidents(rooms), begin, end, quiet_hours(site.config))
    )
    for gap in found:
        fields = {
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
        printer.say(_gap_line(gap, site.config), **fields)
    if as_json:
        return
    if not any(found.bells for found in roster.timetables.values()):
        printer.say("no [[bells]], so there are no lesson periods to look at")
    else:
        periods = sum(len([*t.lessons(begin, end)]) for t in roster.timetables.values())
        printer.say(f"{len(found)} gaps in {periods} periods and {len(rooms)} rooms")


def _gap_line(gap: CoverageGap, config: PlumewatchConfig) -> str:
    zone = config.zone(next((r.site for r in config.room if r.id == gap.room), ""))
    start, end = (moment.astimezone(zone) for moment in (gap.start, gap.end))
    instead = "nobody"
    if gap.instead:
        instead = f"{gap.instead.name} ({', '.join(c.person for c in gap.instead.people)})"
    return (
        f"{start:%a %Y-%m-%d %H:%M}-{end:%H:%M} {gap.period}, {gap.room}: nobody of"
        f" {', '.join(gap.receivers)} for {', '.join(gap.kinds)}"
        + (f"; without an address: {', '.join(gap.no_address)}" if gap.no_address else "")
        + (f"; in quiet hours: {', '.join(gap.quiet)}" if gap.quiet else "")
        + f"; notified instead: {instead}"
    )


@command(staff_app, "list", "plumewatch staff list --json")
def staff_list(config: ConfigOption = CONFIG, *, as_json: JsonOption = False) -> None:
    """Print staff, their roles, and who can sign in."""
    from alerts.access import sessions
    from alerts.access.passwords import with_password

    site = Site.load(config)
    with site.transaction() as tx:
        passwords, counts = with_password(tx), sessions.counts(tx, time.time())
    rows = []
    for member in site.config.staff:
        at, open_sessions = passwords.get(member.id), counts.get(member.id, 0)
        who = {"id": member.id, "name": member.name, "role": member.role}
        since = "none" if at is None else site.format_time(at)
        fields = {**who, "password_set": at, "sessions": open_sessions}
        rows.append((fields, (*who.values(), since, open_sessions)))
    Printer(as_json=as_json).table(("Id", "Name", "Role", "Password set", "Sessions"), rows)


@command(staff_app, "password", "plumewatch staff password ap-north --generate")
def staff_password(
    person: Annotated[str, Argument(help="Id of a `staff` block.")],
    config: ConfigOption = CONFIG,
    *,
    generate: Annotated[
        bool, Option("--generate", help="Make one and print it; its owner changes it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Set a password, typed or from standard input; ends the person's sessions."""
    from alerts.access.passwords import Hasher, fault_of, generated, set_password
    from storage import audit

    site = Site.load(config)
    member = next((m for m in site.config.staff if m.id == person), None)
    if member is None:
        raise _unknown_person(person, [m.id for m in site.config.staff])
    password = generated() if generate else _typed_password(member.name)
    fault = fault_of(password, (member.id, member.name, site.config.site))
    if fault:
        raise RefusedError(fault)
    hashed, now = Hasher().hash(password), time.time()
    detail = {"person": member.id}
    with site.transaction() as tx:
        audit.append(tx, audit.AuditKind.PASSWORD, audit.machine_user(), detail, now)
        ended = set_password(tx, member.id, hashed, now)
    over = f"; {ended} of their sessions ended" if ended else ""
    made = {"password": password} if generate else {}
    Printer(as_json=as_json).say(
        "\n".join((f"password of {member.id} set{over}", *made.values())),
        person=member.id,
        sessions_ended=ended,
        **made,
    )


def _typed_password(name: str) -> str:
    """Ask twice on a terminal; else read a line of standard input."""
    import getpass

    from alerts.access.passwords import LONGEST

    if not sys.stdin.isatty():
        return sys.stdin.readline(8 * LONGEST).rstrip("\r\n")
    password = getpass.getpass(f"New password of {name}: ")
    if password != getpass.getpass("The same again: "):
        raise RefusedError("the two passwords differ")
    return password


def _unknown_person(person: str, known: list[str]) -> UsageError:
    people = ", ".join(known) or "nobody; add a [[staff]] block"
    return UsageError(f"{person!r}: no member of staff has this id; there is: {people}")


@command(staff_app, "test", "plumewatch staff test", "plumewatch staff test ap-north --json")
def staff_test(
    person: Annotated[str, Argument(help="Id of a `staff` block; all without it.")] = "",
    config: ConfigOption = CONFIG,
    *,
    as_json: JsonOption = False,
) -> int | None:
    """Send a test notice to every address of one person or of all; 3 if one fails."""
    from plumewatch.config.settings import alert_policy

    site = Site.load(config)
    known = [member.id for member in alert_policy(site.config).staff]
    if person and person not in known:
        raise _unknown_person(person, known)
    ok = send_test_notices(site.config, Printer(as_json=as_json), person)
    return None if ok else UNREACHABLE


def send_test_notices(config: PlumewatchConfig, printer: Printer, person: str = "") -> bool:
    """Send a test notice to every address of a person, or of all; whether all were delivered."""
    import asyncio

    from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
    from alerts.notify.trial_notices import send_trials
    from plumewatch.config.settings import alert_policy

    notifier = AppriseNotifier(NotifySettings(allow_private=config.alerts.allow_private_targets))
    staff = [m for m in alert_policy(config).staff if person in ("", m.id)]
    outcomes = asyncio.run(send_trials(notifier, staff, config.site, config.timezone, time.time()))
    for found in outcomes:
        outcome = "delivered" if found.error is None else str(found.error)
        printer.say(
            f"test notice to {found.person}, address {found.number}: {outcome}",
            person=found.person,
            address=found.number,
            taken=found.error is None,
            outcome=outcome,
        )
    return all(found.error is None for found in outcomes)


@command(staff_app, "sign-out", "plumewatch staff sign-out ap-north")
def staff_sign_out(
    person: Annotated[str, Argument(help="Id, also of a person no longer listed.")],
    config: ConfigOption = CONFIG,
    *,
    as_json: JsonOption = False,
) -> None:
    """Sign a person out everywhere, and end the links in their notices."""
    from alerts.access import sessions
    from storage import audit

    detail = {"person": person[:80]}
    now = time.time()
    with Site.load(config).transaction() as tx:
        audit.append(tx, audit.AuditKind.SIGN_OUT, audit.machine_user(), detail, now)
        ended = sessions.end_all(tx, person, now)
    Printer(as_json=as_json).say(f"{ended} sessions ended", person=person, sessions_ended=ended)


@command(
    token_app, "add", "plumewatch token add Grafana --person ap-north --scope readings --days 90"
)
def token_add(
    name: Annotated[str, Argument(help="What it is for.")],
    person: Annotated[str, Option(help="Id of the `staff` block as which it acts.")],
    config: ConfigOption = CONFIG,
    scope: Annotated[
        list[str] | None, Option(help="What it may do: read, respond, readings or reports.")
    ] = None,
    days: Annotated[float, Option(min=1, max=366, help="Until it expires.")] = 90,
    *,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it once; without --scope it may read incidents, rooms and sensors."""
    from alerts.access import api_tokens
    from alerts.access.api_tokens import Scope
    from storage import audit

    site, scopes = Site.load(config), sorted({*(scope or [Scope.READ.value])})
    known = [member.id for member in site.config.staff]
    if person not in known:
        raise _unknown_person(person, known)
    if not set(scopes) <= {*Scope}:
        raise UsageError(f"--scope: one of {', '.join(Scope)}")
    now, by = time.time(), audit.machine_user()
    detail = {"what": "made", "name": name[:80], "for": person, "scopes": " ".join(scopes)}
    with site.transaction() as tx:
        audit.append(tx, audit.AuditKind.TOKEN, by, detail, now)
        token = api_tokens.make(
            tx,
            name,
            person,
            [Scope(one) for one in scopes],
            by=by,
            days=days,
            now=now,
            sites=site.config.roster().sites.get(person),
        )
    Printer(as_json=as_json).say(token, name=name, person=person, scopes=scopes, token=token)


@command(token_app, "list", "plumewatch token list --json")
def token_list(config: ConfigOption = CONFIG, *, as_json: JsonOption = False) -> None:
    """Print tokens, what they may do, and when they expire; never the tokens themselves."""
    from alerts.access import api_tokens

    site = Site.load(config)
    with site.transaction() as tx:
        tokens = api_tokens.listed(tx)
    rows = []
    for token in tokens:
        scopes = sorted(token.scopes)
        used = "never" if token.used_at is None else site.format_time(token.used_at)
        shown = (token.id, token.name, token.person, " ".join(scopes))
        times = (site.format_time(token.expires_at), used)
        sites = None if token.sites is None else sorted(token.sites)
        kept = {**token._asdict(), "scopes": scopes, "sites": sites}
        rows.append((kept, (*shown, *times)))
    columns = ("No.", "Name", "Acts as", "Scopes", "Expires", "Last used")
    Printer(as_json=as_json).table(columns, rows)


@command(token_app, "revoke", "plumewatch token revoke 3")
def token_revoke(
    number: Annotated[int, Argument(help="Number in `plumewatch token list`.")],
    config: ConfigOption = CONFIG,
    *,
    as_json: JsonOption = False,
) -> None:
    """End a token at once."""
    from alerts.access import api_tokens
    from storage import audit

    with Site.load(config).transaction() as tx:
        name = api_tokens.revoke(tx, number)
        if not name:
            raise RefusedError(f"there is no token {number}")
        detail = {"what": "revoked", "name": name}
        audit.append(tx, audit.AuditKind.TOKEN, audit.machine_user(), detail, time.time())
    Printer(as_json=as_json).say(f"token {number} revoked", revoked=number, name=name)
