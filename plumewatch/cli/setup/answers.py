"""The answers about a site: from a file, or from a person who is asked."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol, TypeVar
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, Field, ValidationError

from alerts.notify.channels.apprise_notifier import NotifySettings, check_target
from alerts.secrets import Secret
from ingest.errors import BrokerError
from plumewatch.config.faults import ConfigError, ConfigFault, toml_fault
from plumewatch.config.sections.common import FilePath, Name, TimeZone, time_zone
from plumewatch.config.sections.web import WebConfig
from storage.errors import StorageUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable


A = TypeVar("A")
T = TypeVar("T")
_TRIES: Final = 3


class Question(Protocol):
    """Whoever answers."""

    def __call__(self, text: str, default: str = "", *, hidden: bool = False) -> str:
        """Return the answer to a question; `hidden` keeps what is typed from the screen."""


def _target(value: str) -> str:
    faults = check_target(Secret(value), NotifySettings(allow_private=True)) if value else []
    if faults:
        raise ValueError(f"no address for notices: {faults[0]}")
    return value


def _broker(text: str) -> str:
    address(text)
    return text


def page_address(text: str) -> str:
    """Take the address of a page, or none.

    >>> page_address("https://plumewatch.example.org"), page_address("")
    ('https://plumewatch.example.org', '')
    """
    try:
        return WebConfig(public_url=text).public_url
    except ValidationError:
        raise ValueError("https://host, as phones reach the staff page, or nothing") from None


_Hidden = Annotated[str, Field(repr=False)]


class StaffAnswer(BaseModel, extra="forbid", frozen=True):
    """One member of staff and where notices go; the address is a secret."""

    name: Name
    role: Literal["staff", "facilities", "analyst", "admin"] = "staff"
    url: Annotated[_Hidden, AfterValidator(_target)] = ""
    url_file: FilePath | None = None
    url_env: str = ""


class InfluxAnswer(BaseModel, extra="forbid", frozen=True):
    """An InfluxDB for the readings, and an administrator's rights, which are used once."""

    url: Annotated[str, Field(min_length=1)]
    database: str = "plumewatch"
    org: str = ""
    username: str = ""
    token: _Hidden = ""
    token_file: FilePath | None = None
    token_env: str = ""
    ca_file: FilePath | None = None


class Answers(BaseModel, extra="forbid", frozen=True):
    """The answers; all but the name of the school may be left out."""

    site: Name
    timezone: TimeZone = "UTC"
    broker: Annotated[str, AfterValidator(_broker)] = "127.0.0.1:1883"
    ca_file: FilePath | None = None
    username: str = ""
    password_file: FilePath | None = None
    password: _Hidden = ""
    listen_s: Annotated[float, Field(ge=1, le=3600)] = 20.0
    influx: InfluxAnswer | None = None
    rooms: dict[str, str] = {}
    staff: list[StaffAnswer] = []
    public_url: Annotated[str, AfterValidator(page_address)] = ""
    broker_folder: str = "/etc/mosquitto"
    test_notice: bool = True


def address(text: str) -> tuple[str, int, bool]:
    """Read ``[mqtt[s]://]host[:port]`` into host, port, and whether TLS is spoken.

    >>> address("192.0.2.10"), address("mqtts://broker.example")
    (('192.0.2.10', 1883, False), ('broker.example', 8883, True))
    """
    parts = urlsplit(text if "://" in text else f"mqtt://{text}")
    if parts.scheme not in ("mqtt", "mqtts") or not parts.hostname or parts.username:
        raise ValueError("[mqtt[s]://]host[:port], without a user")
    tls = parts.scheme == "mqtts"
    return parts.hostname, parts.port or (8883 if tls else 1883), tls


def read_answers(path: Path) -> Answers:
    """Read answers from a TOML file; paths in it are relative to it. Raises `ConfigError`."""
    try:
        tree = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        why = error.strerror or "unreadable"
        raise ConfigError([ConfigFault(str(path), why, "a file")]) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        fault = ConfigFault(str(path), toml_fault(path.read_bytes(), error), "TOML")
        raise ConfigError([fault]) from error
    try:
        return Answers.model_validate(tree, context=path.resolve().parent)
    except ValidationError as error:
        raise ConfigError(
            [
                ConfigFault(
                    path=".".join(map(str, found["loc"])),
                    value="missing" if found["type"] == "missing" else "not valid",
                    message=_reason(found["type"], str(found["msg"])),
                )
                for found in error.errors(include_url=False, include_input=False)
            ],
            tree,
        ) from error


def local_zone() -> str:
    """Name the time zone of this machine; UTC where it has none."""
    try:
        _, found, name = str(Path("/etc/localtime").resolve()).partition("zoneinfo/")
    except OSError:
        return "UTC"
    return name if found else "UTC"


def ask(question: Question, reach: Callable[[Answers], None]) -> Answers:
    """Ask what must be known before listening; after a `BrokerError` of `reach`, ask again."""
    site = ask_until_valid(lambda: question("Name of the school"), _name)
    zone = ask_until_valid(lambda: question("Time zone (IANA)", local_zone()), time_zone)

    def of_broker() -> Answers:
        broker = ask_until_valid(
            lambda: question("MQTT broker, [mqtts://]host[:port]", "127.0.0.1:1883"), _broker
        )
        username = question("Account there that may read everything; empty for none")
        password = question(f"Password of {username}", hidden=True) if username else ""
        return Answers(
            site=site, timezone=zone, broker=broker, username=username, password=password
        )

    def reached(answers: Answers) -> Answers:
        reach(answers)
        return answers

    return ask_until_valid(of_broker, reached)


def ask_until_valid(asked: Callable[[], A], read: Callable[[A], T]) -> T:
    """Ask again, at most `_TRIES` times, while an answer is not valid; print why."""
    for _ in range(_TRIES - 1):
        try:
            return read(asked())
        except (ValueError, BrokerError, StorageUnavailableError) as error:
            sys.stderr.write(f"{in_short(error)}\n")
    return read(asked())


def _name(text: str) -> str:
    if not 1 <= len(text) <= 80:
        raise ValueError("1 to 80 characters")
    return text


def in_short(error: Exception) -> str:
    """Say what is wrong with an answer, without the answer: it may be a secret."""
    if not isinstance(error, ValidationError):
        return str(error)
    return "\n".join(
        f"{'.'.join(map(str, found['loc']))}: {_reason(found['type'], found['msg'])}"
        for found in error.errors(include_url=False, include_input=False)
    )


def _reason(kind: str, message: str) -> str:
    known = {"missing": "missing", "extra_forbidden": "no such answer"}
    return known.get(kind, message.removeprefix("Value error, "))


def rooms_of(text: str) -> dict[str, str]:
    """Read ``sensor=Building/Floor/Room; ...``.

    >>> rooms_of("n2-boys-1=North/2nd floor/Boys' restroom; ")
    {'n2-boys-1': "North/2nd floor/Boys' restroom"}
    """
    found = {}
    for part in filter(None, map(str.strip, text.split(";"))):
        sensor, equals, place = part.partition("=")
        if not equals or not place.strip():
            raise ValueError(f"{part!r}: sensor=Building/Floor/Room, several apart by ;")
        found[sensor.strip()] = place.strip()
    return found


def staff_of(text: str) -> list[StaffAnswer]:
    """Read ``Name[, role] = address; ...``; the role is one of the configuration's.

    >>> [(p.name, p.role) for p in staff_of("AP = ntfys://a/b; Fixit, facilities = json://c")]
    [('AP', 'staff'), ('Fixit', 'facilities')]
    """
    found = []
    for part in filter(None, map(str.strip, text.split(";"))):
        who, _, url = part.partition("=")
        name, _, role = who.rpartition(",")
        given = {"name": name.strip(), "role": role.strip()} if name else {"name": who.strip()}
        found.append(StaffAnswer.model_validate({**given, "url": url.strip()}))
    return found
