"""``plumewatch setup``, from the first question to the check."""

from __future__ import annotations

import asyncio
import os
import ssl
import time
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo

from pydantic import ValidationError

from alerts.notify.channels.apprise_notifier import AppriseNotifier, NotifySettings
from alerts.notify.trial_notices import send_trials
from ingest.broker import BrokerSettings
from ingest.errors import BrokerError
from plumewatch.cli.exit_codes import DONE, REFUSED, UNREACHABLE, USAGE
from plumewatch.cli.progress import progress
from plumewatch.cli.setup.answers import (
    address,
    ask,
    in_short,
    page_address,
    read_answers,
    rooms_of,
    staff_of,
    until_taken,
)
from plumewatch.cli.setup.broker_files import new_password
from plumewatch.cli.setup.discovery import heard_on, listen, reach
from plumewatch.cli.setup.site_files import heard_air, next_steps, rooms_for, written
from plumewatch.config.faults import ConfigError, ConfigFault
from plumewatch.config.secrets import secret_from
from plumewatch.config.settings import alert_policy
from plumewatch.config.sharding import load_shard
from plumewatch.doctor.check import run_check

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from ingest.message import Message
    from plumewatch.cli.printer import Printer
    from plumewatch.cli.setup.answers import Answers, Question
    from plumewatch.cli.setup.discovery import Heard, HeardSensor
    from plumewatch.cli.setup.rooms import Place
    from plumewatch.config.model import PlumewatchConfig

_UNREAD_SHOWN: Final = 5
_SLOWEST_S: Final = 120.0
"""Who listens for less is told that slow sensors may be missing."""


def run_setup(
    folder: Path, answers_file: Path | None, printer: Printer, question: Question | None
) -> int:
    """Set a site up.

    Parameters
    ----------
    folder : Path
        Where the files go; none of them may be there.
    answers_file : Path or None
        Answers; a person is asked without it.
    question : Question or None
        Asks a person; needed without a file.

    Returns
    -------
    int
        0 set up and the check is green, 1 no sensor was heard, 2 an answer cannot be taken or the
        files are there, 3 the broker does not answer or the check found faults.
    """
    try:
        answers = _answers(answers_file, question)
        zone = ZoneInfo(answers.timezone)
        settings = _broker(answers)
        folder = folder.resolve()
        _check_free(folder)
        heard = heard_on(_listened(settings, answers.listen_s), zone)
        sensors = heard_air(heard)
        places = _places(answers, sensors, printer)
        _tell_heard(heard, places, printer)
        if answers.listen_s < _SLOWEST_S:
            printer.err.write(
                f"listened {answers.listen_s:g} s: sensors that report less often may be missing;"
                " listen_s in a file of --answers makes it longer (docs/setup.md)\n"
            )
        if not places:
            printer.err.write(
                "no sensor was heard that measures particles or VOC; let them publish to"
                f" {answers.broker} (docs/devices.md), then plumewatch setup again\n"
            )
            return REFUSED
        if answers_file is None and question is not None:
            answers, places = _asked_after(answers, sensors, question)
        password = settings.password or new_password()
        for path in written(answers, heard, places, password).write(folder):
            printer.say(f"wrote {path}", wrote=path)
    except (ConfigError, FileExistsError, ValidationError, ValueError) as error:
        printer.err.write(f"{in_short(error)}\n")
        return USAGE
    except BrokerError as error:
        printer.err.write(f"{error}\n")
        return UNREACHABLE
    except OSError as error:
        printer.err.write(f"{folder}: {error.strerror or error}\n")
        return USAGE
    return _finish(folder, answers, printer)


def _check_free(folder: Path) -> None:
    if (folder / "plumewatch.toml").exists():
        raise FileExistsError(f"{folder}/plumewatch.toml: exists already; another --folder")
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not (there.is_dir() and os.access(there, os.W_OK)):
        raise FileExistsError(f"{folder}: cannot be written; another --folder")


def _answers(path: Path | None, question: Question | None) -> Answers:
    if path is not None:
        return read_answers(path)
    if question is None:
        raise ValueError("--answers FILE is needed where nobody can be asked")
    return ask(question, lambda answers: asyncio.run(reach(_broker(answers))))


def _broker(answers: Answers) -> BrokerSettings:
    host, port, tls = address(answers.broker)
    password = answers.password
    if answers.password_file is not None:
        password = secret_from("password", file=answers.password_file).reveal()
    try:
        context = ssl.create_default_context(cafile=answers.ca_file) if tls else None
    except OSError as error:
        allowed = f"a readable certificate file ({error})"
        fault = ConfigFault("ca_file", str(answers.ca_file), allowed)
        raise ConfigError([fault]) from error
    return BrokerSettings(
        host=host, port=port, username=answers.username, password=password, tls=context
    )


def _listened(settings: BrokerSettings, seconds: float) -> Sequence[Message]:
    with progress() as bar:
        task = bar.add_task("listening", total=seconds)

        def on_message(count: int, so_far: float) -> None:
            bar.update(task, completed=so_far, description=f"listening, {count} messages")

        return asyncio.run(listen(settings, seconds, on_message))


def _places(
    answers: Answers, sensors: Mapping[str, HeardSensor], printer: Printer
) -> dict[str, Place]:
    places = rooms_for(sensors, answers.rooms)
    printer.table(
        ("Sensor", "Read by", "Each", "Building", "Floor", "Room"),
        (
            (
                {
                    "sensor": name,
                    "decoder": sensors[name].decoder,
                    "interval_s": sensors[name].interval_s,
                    "quantities": sorted(sensors[name].quantities),
                    **place._asdict(),
                },
                (name, sensors[name].decoder, _every(sensors[name]), *place),
            )
            for name, place in places.items()
        ),
    )
    return places


def _every(sensor: HeardSensor) -> str:
    return "once" if sensor.interval_s is None else f"{sensor.interval_s:.3g} s"


def _tell_heard(heard: Heard, places: Mapping[str, Place], printer: Printer) -> None:
    for name in sorted(heard.sensors.keys() - places.keys()):
        text = f"{name} measures neither particles nor VOC: left out"
        printer.say(text, sensor=name, left_out=True)
    unread = sorted(heard.unread.items())
    for topic, why in unread[:_UNREAD_SHOWN]:
        printer.say(f"nothing reads {topic}: {why}", topic=topic, unread=why)
    if len(unread) > _UNREAD_SHOWN:
        more = len(unread) - _UNREAD_SHOWN
        printer.say(f"and {more} further topics (docs/mappings.md)", unread_more=more)


def _asked_after(
    answers: Answers, sensors: Mapping[str, HeardSensor], question: Question
) -> tuple[Answers, dict[str, Place]]:
    """Ask what follows from what was heard: rooms, staff, where the page is, a test."""
    places = until_taken(
        lambda: question("Rooms to put right, sensor=Building/Floor/Room; ...; empty if all are"),
        lambda said: rooms_for(sensors, rooms_of(said)),
    )
    staff = until_taken(
        lambda: question("Who is told, Name[, role] = Apprise address; ...; empty for later"),
        staff_of,
    )
    public_url = until_taken(
        lambda: question("Address under which phones reach the staff page; empty for none"),
        page_address,
    )
    test = question("Send each a test notice now? (yes, no)", "yes") if staff else "no"
    more = {"staff": staff, "public_url": public_url, "test_notice": test.lower().startswith("y")}
    return answers.model_copy(update=more), places


def _finish(folder: Path, answers: Answers, printer: Printer) -> int:
    path = folder / "plumewatch.toml"
    try:
        config = load_shard(path)
    except ConfigError as error:
        printer.err.write(f"{error}\n")
        return USAGE
    if answers.test_notice and config.staff:
        _try_all(config, printer)
    code = run_check(path, printer)
    if not printer.as_json:
        _, _, tls = address(answers.broker)
        printer.say(next_steps(folder, answers.broker_folder.rstrip("/"), tls=tls))
    return DONE if code == DONE else UNREACHABLE


def _try_all(config: PlumewatchConfig, printer: Printer, person: str = "") -> bool:
    notifier = AppriseNotifier(NotifySettings(allow_private=config.alerts.allow_private_targets))
    staff = [m for m in alert_policy(config).staff if person in ("", m.id)]
    tried = send_trials(notifier, staff, config.site, config.timezone, time.time())
    well = True
    for found in asyncio.run(tried):
        well = well and found.error is None
        outcome = "was taken" if found.error is None else str(found.error)
        printer.say(
            f"test notice to {found.person}, address {found.number}: {outcome}",
            person=found.person,
            address=found.number,
            taken=found.error is None,
            outcome=outcome,
        )
    return well


def run_trial(path: Path, person: str, printer: Printer) -> int:
    """Send a test notice to a member of staff, or to all.

    Returns
    -------
    int
        0 all were taken, 2 bad configuration or nobody has this id, 3 one was not taken.
    """
    try:
        config = load_shard(path)
        known = [member.id for member in alert_policy(config).staff]
    except ConfigError as error:
        printer.err.write(f"{error}\n")
        return USAGE
    if person and person not in known:
        there = ", ".join(known) or "nobody"
        printer.err.write(f"{person!r}: no member of staff has this id; there is: {there}\n")
        return USAGE
    return DONE if _try_all(config, printer, person) else UNREACHABLE
