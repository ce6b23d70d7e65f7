"""`plumewatch timeline`, `routes`, `staff` and `token`: who is notified, may sign in or call."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import CONFIG, UNREACHABLE, ConfigOption, JsonOption, Site, examples
from plumewatch.cli.printer import Printer
from plumewatch.config.faults import some
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from alerts.escalation.coverage import CoverageGap
    from alerts.escalation.preview import PreviewStep
    from plumewatch.config.model import PlumewatchConfig


app = typer.Typer()
routes_app = typer.Typer(help="Who is notified of what, when and why.", no_args_is_help=True)
app.add_typer(routes_app, name="routes", rich_help_panel="People")
staff_app = typer.Typer(help="Who may sign in on the staff page.", no_args_is_help=True)
app.add_typer(staff_app, name="staff", rich_help_panel="People")
token_app = typer.Typer(
    help="Which programs may call the HTTP API (docs/api.md).", no_args_is_help=True
)
app.add_typer(token_app, name="token", rich_help_panel="People")


@app.command(
    rich_help_panel="People",
    epilog=examples(
        "plumewatch timeline --room N2-boys --kind vape",
        "plumewatch timeline --at 2026-09-07T10:05 --json",
    ),
)
def timeline(
    *,
    config: ConfigOption = CONFIG,
    room: Annotated[str, typer.Option(help="Id of a room; the first one if empty.")] = "",
    kind: Annotated[str, typer.Option(help="Kind of the detection.")] = "vape",
    at: Annotated[str, typer.Option(help="Local time, 2026-09-07T10:05.")] = "",
    as_json: JsonOption = False,
) -> None:
    """Print who would be notified when after an alert, and what limits the notices."""
    from alerts.escalation.preview import timeline as timeline_lines
    from detection.events import EventKind
    from plumewatch.config.settings import alert_policy

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    policy = alert_policy(site.config)
    rooms = site.config.registry().rooms
    kinds = sorted(k.value for k in policy.pages)
    faults = []
    if room and room not in rooms:
        faults.append(f"--room: {room!r}: one of {some(rooms)}")
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
    for line in timeline_lines(policy, where, EventKind(kind), when):
        printer.say(line, room=where.id, kind=kind, at=when, says=line)


@routes_app.command(
    "test",
    epilog=examples("plumewatch routes test --at 2026-09-07T10:05 room=N2-boys kind=vape --json"),
)
def routes_test(
    labels: Annotated[
        list[str], typer.Argument(help="What happened, as in: room=N2-boys kind=vape")
    ],
    *,
    config: ConfigOption = CONFIG,
    at: Annotated[
        str, typer.Option(help="As in 2026-09-07T10:05, in the school's zone; now if empty.")
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
    printer = Printer(as_json=as_json)
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
    printer.say("\n".join([*lines, *_answer_lines(answer, names)]), **answer)


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
    places = {"room": registry.rooms, "sensor": registry.sensors}
    allowed = {"kind": kinds, "severity": SEVERITIES, **places}
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


@routes_app.command(
    "gaps",
    epilog=examples("plumewatch routes gaps", "plumewatch routes gaps --from 2026-09-07 --days 30"),
)
def routes_gaps(
    *,
    config: ConfigOption = CONFIG,
    start: Annotated[str, typer.Option("--from", help="First day, as in 2026-09-07.")] = "",
    days: Annotated[int, typer.Option(help="Number of days.", min=1, max=400)] = 14,
    as_json: JsonOption = False,
) -> None:
    """List every lesson period in which nobody on duty can be notified about a room."""
    from alerts.escalation.coverage import coverage_gaps, paged_incidents
    from plumewatch.config.settings import quiet_hours

    site = Site.load(config)
    printer = Printer(as_json=as_json)
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
            "kinds": gap.kinds,
            "receivers": gap.receivers,
            "no_address": gap.no_address,
            "quiet": gap.quiet,
            "instead": [c.person for c in gap.instead.people] if gap.instead else [],
        }
        printer.say(_gap_line(gap, site.config), **fields)
    if printer.as_json:
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


@staff_app.command("list", epilog=examples("plumewatch staff list --json"))
def staff_list(*, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Print staff, their roles, and who can sign in."""
    from alerts.access import second_factor, sessions
    from alerts.access.passwords import with_password

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    with site.transaction() as tx:
        passwords, counts = with_password(tx), sessions.counts(tx, time.time())
        factors = second_factor.everybody(tx)
    rows = []
    for member in site.config.staff:
        at, open_sessions = passwords.get(member.id), counts.get(member.id, 0)
        who = {"id": member.id, "name": member.name, "role": member.role}
        since = "none" if at is None else site.format_time(at)
        factor = factors.get(member.id)
        fields = {**who, "password_set": at, "second_factor": factor, "sessions": open_sessions}
        code = "none" if factor is None else site.format_time(factor)
        rows.append((fields, (*who.values(), since, code, open_sessions)))
    columns = ("Id", "Name", "Role", "Password set", "Second factor", "Sessions")
    printer.table(columns, rows)


@staff_app.command("password", epilog=examples("plumewatch staff password ap-north --generate"))
def staff_password(
    person: Annotated[str, typer.Argument(help="Id of a `staff` block.")],
    *,
    config: ConfigOption = CONFIG,
    generate: Annotated[
        bool, typer.Option("--generate", help="Make one and print it; its owner changes it.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Set a password, typed or from standard input; ends the person's sessions."""
    from alerts.access.passwords import Hasher, fault_of, generated, set_password
    from storage import audit

    site = Site.load(config)
    printer = Printer(as_json=as_json)
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
    printer.say(
        "\n".join((f"password of {member.id} set{over}", *made.values())),
        person=member.id,
        sessions_ended=ended,
        **made,
    )


@staff_app.command(
    "remove-second-factor", epilog=examples("plumewatch staff remove-second-factor ap-north --json")
)
def staff_remove_second_factor(
    person: Annotated[str, typer.Argument(help="Id of a `staff` block.")],
    *,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Remove a lost second factor; its owner signs in by password and can set up another."""
    from alerts.access import second_factor
    from storage import audit

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    detail = {"what": "removed", "person": person[:80]}
    with site.transaction() as tx:
        if not second_factor.remove(tx, person):
            raise RefusedError(f"{person} has no second factor")
        audit.append(tx, audit.AuditKind.SECOND_FACTOR, audit.machine_user(), detail, time.time())
    printer.say(f"second factor of {person} removed", person=person)


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


@staff_app.command(
    "test", epilog=examples("plumewatch staff test", "plumewatch staff test ap-north --json")
)
def staff_test(
    person: Annotated[str, typer.Argument(help="Id of a `staff` block; all without it.")] = "",
    *,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> int | None:
    """Send a test notice to every address of one person or of all; 3 if one fails."""
    from plumewatch.config.settings import alert_policy

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    known = [member.id for member in alert_policy(site.config).staff]
    if person and person not in known:
        raise _unknown_person(person, known)
    ok = send_test_notices(site.config, printer, person)
    return None if ok else UNREACHABLE


def send_test_notices(config: PlumewatchConfig, printer: Printer, person: str = "") -> bool:
    """Send a test notice to every address of a person, or of all; whether all were delivered."""
    import asyncio

    from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
    from alerts.notify.trial_notices import send_trials
    from plumewatch.config.paths import DataPaths
    from plumewatch.config.settings import alert_policy

    notifier = AppriseNotifier(NotifySettings(allow_private=config.alerts.allow_private_targets))
    policy, state = alert_policy(config), DataPaths(config.data_dir).state
    staff = [m for m in policy.staff if person in ("", m.id)]
    outcomes = asyncio.run(send_trials(notifier, staff, state, policy, config.site, time.time()))
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


@staff_app.command("sign-out", epilog=examples("plumewatch staff sign-out ap-north"))
def staff_sign_out(
    person: Annotated[str, typer.Argument(help="Id, also of a person no longer listed.")],
    *,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """Sign a person out everywhere, and end the links in their notices."""
    from alerts.access import sessions
    from storage import audit

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    detail = {"person": person[:80]}
    now = time.time()
    with site.transaction() as tx:
        audit.append(tx, audit.AuditKind.SIGN_OUT, audit.machine_user(), detail, now)
        ended = sessions.end_all(tx, person, now)
    printer.say(f"{ended} sessions ended", person=person, sessions_ended=ended)


@token_app.command(
    "add",
    epilog=examples(
        "plumewatch token add spreadsheet --person ap-north --scope readings --days 90"
    ),
)
def token_add(
    name: Annotated[str, typer.Argument(help="What it is for.")],
    *,
    person: Annotated[str, typer.Option(help="Id of the `staff` block as which it acts.")],
    config: ConfigOption = CONFIG,
    scope: Annotated[
        list[str] | None, typer.Option(help="What it may do: read, respond, readings or reports.")
    ] = None,
    days: Annotated[float, typer.Option(help="Until it expires.", min=1, max=366)] = 90,
    only: Annotated[
        list[str] | None,
        typer.Option("--site", help="Id of a school; all of the person without it."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it once; without --scope it may read incidents, rooms and sensors."""
    from alerts.access.api_tokens import Scope

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    scopes = sorted({*(scope or [Scope.READ.value])})
    if not set(scopes) <= {*Scope}:
        raise UsageError(f"--scope: one of {', '.join(Scope)}")
    token = _make_token(site, name, person, scopes, days, only)
    printer.say(token, name=name, person=person, scopes=scopes, token=token)


def _make_token(
    site: Site, name: str, person: str, scopes: list[str], days: float, only: list[str] | None
) -> str:
    """Make a token, of the schools `only` by id, and record who made it."""
    from alerts.access import api_tokens
    from alerts.access.api_tokens import Scope
    from storage import audit

    roles = site.config.roles()
    if person not in roles:
        raise _unknown_person(person, [*roles])
    usable = api_tokens.usable(roles[person])
    if unusable := sorted(set(scopes) - {*usable}):
        raise UsageError(
            f"--scope {', '.join(unusable)}: {person!r} has the role {roles[person]}, which"
            f" allows {', '.join(usable) or 'no scope'}"
        )
    sites = site.config.roster().sites.get(person)
    if only:
        schools = {one.id: one.name for one in site.config.registry().sites.values()}
        if unknown := sorted(set(only) - schools.keys()):
            raise UsageError(f"--site {', '.join(unknown)}: one of {', '.join(schools)}")
        wanted = frozenset(schools[one] for one in only)
        if sites is not None and wanted - sites:
            raise UsageError(f"--site: {person!r} does not see {', '.join(sorted(wanted - sites))}")
        sites = wanted
    now, by = time.time(), audit.machine_user()
    detail = {"what": "made", "name": name[:80], "for": person, "scopes": " ".join(scopes)}
    with site.transaction() as tx:
        audit.append(tx, audit.AuditKind.TOKEN, by, detail, now)
        chosen = [Scope(one) for one in scopes]
        return api_tokens.make(tx, name, person, chosen, by=by, days=days, now=now, sites=sites)


@token_app.command("list", epilog=examples("plumewatch token list --json"))
def token_list(*, config: ConfigOption = CONFIG, as_json: JsonOption = False) -> None:
    """Print tokens, what they may do, and when they expire; never the tokens themselves."""
    from alerts.access import api_tokens

    site = Site.load(config)
    printer = Printer(as_json=as_json)
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
    printer.table(columns, rows)


@token_app.command("revoke", epilog=examples("plumewatch token revoke 3"))
def token_revoke(
    number: Annotated[int, typer.Argument(help="Number in `plumewatch token list`.")],
    *,
    config: ConfigOption = CONFIG,
    as_json: JsonOption = False,
) -> None:
    """End a token at once."""
    from alerts.access import api_tokens
    from storage import audit

    site = Site.load(config)
    printer = Printer(as_json=as_json)
    with site.transaction() as tx:
        name = api_tokens.revoke(tx, number)
        if not name:
            raise RefusedError(f"there is no token {number}")
        detail = {"what": "revoked", "name": name}
        audit.append(tx, audit.AuditKind.TOKEN, audit.machine_user(), detail, time.time())
    printer.say(f"token {number} revoked", revoked=number, name=name)
