"""`plumewatch timeline` and `staff`: show who is notified, and manage sign-in."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.errors import RefusedError
from language.plain_text import pluralize
from plumewatch.cli.options import CONFIG, UNREACHABLE, ConfigOption, Site, list_examples
from plumewatch.cli.printer import echo
from plumewatch.config.faults import list_known
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.sections.staff import StaffConfig


app = typer.Typer()
staff_app = typer.Typer(help="Passwords and test notices for staff.", no_args_is_help=True)
app.add_typer(staff_app, name="staff", rich_help_panel="People")


@app.command(
    rich_help_panel="People",
    epilog=list_examples(
        "plumewatch timeline --room N2-boys --kind vape",
        "plumewatch timeline --at 2026-09-07T10:05",
    ),
)
def timeline(
    *,
    config: ConfigOption = CONFIG,
    room: Annotated[str, typer.Option(help="Id of a room; the first room if left out.")] = "",
    kind: Annotated[str, typer.Option(help="Kind of detection.")] = "vape",
    at: Annotated[str, typer.Option(help="Local time, 2026-09-07T10:05.")] = "",
) -> None:
    """Print who would be notified after an alert of each severity, and when."""
    from alerts.escalation.preview import write_timeline as timeline_lines
    from alerts.policy import PAGED
    from detection.events import EventKind
    from plumewatch.config.settings import build_alert_policy

    site = Site.load(config)
    policy = build_alert_policy(site.config)
    rooms = site.config.build_registry().rooms
    kinds = sorted(kind.value for kind in PAGED)
    faults = []
    if room and room not in rooms:
        names = {one.name: one.id for one in rooms.values()}
        faults.append(f"--room: {room!r}: must be one of {list_known(room, rooms, names)}")
    if kind not in kinds:
        faults.append(f"--kind: {kind!r}: must be one of {list_known(kind, kinds)}")
    when = time.time()
    try:
        when = site.parse_time(at) if at else when
    except UsageError as error:
        faults.append(f"--at: {error}")
    if faults:
        raise UsageError("\n".join(faults))
    where = rooms[room] if room else next(iter(rooms.values()))
    for line in timeline_lines(policy, where, EventKind(kind), when):
        echo(line)


@staff_app.command(
    "password", epilog=list_examples("plumewatch staff password ap-north --generate")
)
def staff_password(
    person: Annotated[str, typer.Argument(help="Id of a `staff` block.")],
    *,
    config: ConfigOption = CONFIG,
    generate: Annotated[
        bool, typer.Option("--generate", help="Generate a password and print it.")
    ] = False,
) -> None:
    """Set a password, typed or from standard input, and end the person's sessions."""
    from alerts.access.passwords import Hasher, find_fault, generate_password, set_password
    from storage import audit

    site = Site.load(config)
    member = _find_member(person, site.config.staff)
    password = generate_password() if generate else _ask_password(member.name)
    fault = find_fault(password, (member.id, member.name, site.config.site))
    if fault:
        raise RefusedError(fault)
    hashed, now = Hasher().hash(password), time.time()
    detail = {"person": member.id}
    with site.transaction() as tx:
        audit.append(tx, audit.AuditKind.PASSWORD, audit.find_machine_user(), detail, now)
        ended = set_password(tx, member.id, hashed, now)
    over = f"; {pluralize(ended, 'session')} ended" if ended else ""
    echo(f"password of {member.id} set{over}")
    if generate:
        echo(password)


@staff_app.command(
    "remove-second-factor", epilog=list_examples("plumewatch staff remove-second-factor ap-north")
)
def staff_remove_second_factor(
    person: Annotated[str, typer.Argument(help="Id of a `staff` block.")],
    *,
    config: ConfigOption = CONFIG,
) -> None:
    """Remove a lost second factor, so that its owner can sign in with only a password."""
    from alerts.access import second_factor
    from storage import audit

    site = Site.load(config)
    detail = {"what": "removed", "person": person[:80]}
    with site.transaction() as tx:
        if not second_factor.remove(tx, person):
            _find_member(person, site.config.staff)
            raise RefusedError(f"{person} has no second factor")
        audit.append(
            tx, audit.AuditKind.SECOND_FACTOR, audit.find_machine_user(), detail, time.time()
        )
    echo(f"second factor of {person} removed")


def _ask_password(name: str) -> str:
    """Ask twice on a terminal, or read a line from standard input."""
    import getpass

    from alerts.access.passwords import LONGEST

    if not sys.stdin.isatty():
        return sys.stdin.readline(8 * LONGEST).rstrip("\r\n")
    password = getpass.getpass(f"New password of {name}: ")
    if password != getpass.getpass("Repeat the password: "):
        raise RefusedError("the two passwords differ")
    return password


def _find_member(person: str, staff: Sequence[StaffConfig]) -> StaffConfig:
    by_id = {member.id: member for member in staff}
    if person not in by_id:
        known = list_known(person, by_id, {member.name: member.id for member in staff})
        raise UsageError(f"{person!r}: no staff member has this id; the ids are: {known}")
    return by_id[person]


@staff_app.command(
    "test", epilog=list_examples("plumewatch staff test", "plumewatch staff test ap-north")
)
def staff_test(
    person: Annotated[
        str, typer.Argument(help="Id of a `staff` block; everyone if left out.")
    ] = "",
    *,
    config: ConfigOption = CONFIG,
) -> int | None:
    """Send a test notice to each address of a person, or of everyone; exit 3 if one fails."""
    site = Site.load(config)
    if person:
        _find_member(person, site.config.staff)
    return None if send_test_notices(site.config, person) else UNREACHABLE


def send_test_notices(config: PlumewatchConfig, person: str = "") -> bool:
    """Send test notices to a person, or to everyone; return whether all were delivered."""
    import asyncio

    from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
    from alerts.notify.trial_notices import send_trials
    from plumewatch.check.people import find_notify_files
    from plumewatch.config.settings import build_alert_policy

    notifier = AppriseNotifier(NotifySettings(allow_private=config.alerts.allow_private_targets))
    policy = build_alert_policy(config)
    staff = [m for m in policy.staff if person in ("", m.id)]
    outcomes = asyncio.run(send_trials(notifier, staff, policy, config.site, time.time()))
    files, targets = find_notify_files(config), {m.id: m.targets for m in staff}
    for found in outcomes:
        file = files.get(targets[found.person][found.number - 1])
        outcome = "delivered"
        if found.error is not None:
            outcome = f"{found.error}; check {file or 'the address'} with `plumewatch check`"
        echo(f"test notice to {found.person}, address {found.number}: {outcome}")
    return all(found.error is None for found in outcomes)
