"""Read the answers about a site from a file, or ask a person."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from alerts.notify.channels.apprise_notifier import NotifySettings, check_target
from alerts.secrets import Secret
from ingest.errors import BrokerError
from ingest.topics import check_filter
from language.plain_text import suggest_name
from language.value_errors import describe_allowed
from plumewatch.cli.printer import ask_person
from plumewatch.config.faults import ConfigError, ConfigFault, locate
from plumewatch.config.sections.common import FilePath, Name, Number, TimeZone, Url
from plumewatch.config.sections.staff import Role
from plumewatch.config.sites import read_toml
from storage.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


A = TypeVar("A")
T = TypeVar("T")
_TRIES: Final = 3


def _check_target(value: str) -> str:
    faults = check_target(Secret(value), NotifySettings(allow_private=True)) if value else []
    if faults:
        raise ValueError(f"an Apprise address, such as ntfys://ntfy.sh/TOPIC ({faults[0]})")
    return value


def _check_broker(text: str) -> str:
    parse_address(text)
    return text


_Hidden = Annotated[str, Field(repr=False)]


class StaffAnswer(BaseModel, extra="forbid", frozen=True):
    """One staff member, and the secret address for their notices."""

    name: Name
    role: Role = "staff"
    url: Annotated[_Hidden, AfterValidator(_check_target)] = ""
    url_file: FilePath | None = None


class InfluxAnswer(BaseModel, extra="forbid", frozen=True):
    """An InfluxDB for the readings, and its administrator's account: kept only for InfluxDB 3."""

    url: Annotated[str, Field(min_length=1)]
    database: str = "plumewatch"
    org: str = ""
    username: str = ""
    token: _Hidden = ""
    token_file: FilePath | None = None
    ca_file: FilePath | None = None


class Answers(BaseModel, extra="forbid", frozen=True):
    """The answers; only the name of the school is required."""

    site: Name
    timezone: TimeZone = "UTC"
    broker: Annotated[str, AfterValidator(_check_broker)] = "127.0.0.1:1883"
    ca_file: FilePath | None = None
    username: str = ""
    password_file: FilePath | None = None
    password: _Hidden = ""
    listen_s: Annotated[Number, Field(ge=1, le=3600)] = 20.0
    influx: InfluxAnswer | None = None
    rooms: dict[str, str] = {}
    columns: dict[Annotated[str, AfterValidator(check_filter)], str] = {}
    staff: list[StaffAnswer] = []
    public_url: Url = ""
    broker_folder: str = "/etc/mosquitto"
    test_notice: bool = True


def parse_address(text: str) -> tuple[str, int, bool]:
    """Split ``[mqtt[s]://]host[:port]`` into host, port, and whether TLS is used.

    >>> parse_address("192.0.2.10"), parse_address("mqtts://broker.example")
    (('192.0.2.10', 1883, False), ('broker.example', 8883, True))
    """
    parts = urlsplit(text if "://" in text else f"mqtt://{text}")
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.username:
        raise ValueError("[mqtts://]host[:port], without a user name")
    tls = parts.scheme == "mqtts"
    return parts.hostname, parts.port or (8883 if tls else 1883), tls


def read_answers(path: Path, given: Mapping[str, str] | None = None) -> Answers:
    """Read answers from a TOML file; paths in it are relative to it.

    `given` has answers for keys that the file leaves out. Raises `ConfigError` or `OSError`.
    """
    tree = {**(given or {}), **read_toml(path)}
    try:
        return Answers.model_validate(tree, context=path.resolve().parent)
    except ValidationError as error:
        faults = [f._replace(path=f"{path}: {locate(f.path, tree)}") for f in find_faults(error)]
        raise ConfigError(faults) from error


def find_faults(error: ValidationError) -> list[ConfigFault]:
    """Describe what each wrong answer should be, without quoting it, because it may be a secret."""
    faults = []
    for found in error.errors(include_url=False, include_input=False):
        path, kind = ".".join(map(str, found["loc"])), found["type"]
        if kind == "extra_forbidden":
            near = suggest_name(path, [*Answers.model_fields])
            faults.append(ConfigFault(path, "unknown answer", f"see docs/install.md{near}"))
        else:
            value = "missing" if kind == "missing" else "not valid"
            faults.append(ConfigFault(path, value, describe_allowed(found)))
    return faults


def find_local_zone() -> str:
    """Return the time zone of this machine; UTC if it has none."""
    _, found, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    return name if found else "UTC"


def ask(connect: Callable[[Answers], None], given: Mapping[str, str]) -> Answers:
    """Ask the questions that come before listening; ask for the broker again if `connect` fails.

    `given` has answers to propose.
    """
    known = ask_until_valid(
        lambda: ask_person("Name of the school", given.get("site", "")),
        lambda text: Answers(site=text),
    )
    known = ask_until_valid(
        lambda: ask_person("Time zone", given.get("timezone") or find_local_zone()),
        lambda text: Answers(site=known.site, timezone=text),
    )

    def ask_broker() -> Answers:
        broker = ask_person("MQTT broker, [mqtts://]host[:port]", "127.0.0.1:1883")
        answers = Answers(site=known.site, timezone=known.timezone, broker=broker)
        username = ask_person("Broker account that can read everything; empty for none")
        password = ask_person(f"Password of {username}", hidden=True) if username else ""
        return answers.model_copy(update={"username": username, "password": password})

    def check(answers: Answers) -> Answers:
        connect(answers)
        return answers

    return ask_until_valid(ask_broker, check)


def ask_until_valid(ask_once: Callable[[], A], read: Callable[[A], T]) -> T:
    """Ask until an answer is valid, at most `_TRIES` times; print what is wrong."""
    for _ in range(_TRIES - 1):
        try:
            return read(ask_once())
        except (ValueError, BrokerError, StorageUnavailableError) as error:
            sys.stderr.write(f"{describe(error)}\n")
    return read(ask_once())


def describe(error: Exception) -> str:
    """Describe what is wrong with an answer, without quoting it, because it may be a secret."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "\n".join(f"{fault.path}: {fault.allowed}" for fault in find_faults(error))


def parse_rooms(text: str) -> dict[str, str]:
    """Read ``sensor=Building/Floor/Room; ...``.

    >>> parse_rooms("n2-boys-1=North/2nd floor/Boys' restroom; ")
    {'n2-boys-1': "North/2nd floor/Boys' restroom"}
    """
    found = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        sensor, equals, place = part.partition("=")
        if not equals or not place.strip():
            raise ValueError(f"{part!r}: enter sensor=Building/Floor/Room; separate several by ;")
        found[sensor.strip()] = place.strip()
    return found


def parse_staff(text: str) -> list[StaffAnswer]:
    """Read ``Name[, role] = address; ...``, with the roles of the configuration.

    >>> [(p.name, p.role) for p in parse_staff("AP = ntfys://a/b; IT, helpdesk = json://c")]
    [('AP', 'staff'), ('IT', 'helpdesk')]
    """
    found = []
    for part in filter(None, map(str.strip, text.split(";"))):
        who, _, url = part.partition("=")
        name, _, role = who.rpartition(",")
        given = {"name": name.strip(), "role": role.strip()} if name else {"name": who.strip()}
        found.append(StaffAnswer.model_validate({**given, "url": url.strip()}))
    return found
