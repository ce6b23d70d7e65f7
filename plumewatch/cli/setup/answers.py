"""The answers about a site: from a file, or from a person who is asked."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal, Protocol, TypeVar
from urllib.parse import urlsplit
from zoneinfo import available_timezones

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from alerts.notify.channels.apprise_notifier import NotifySettings, check_target
from alerts.secrets import Secret
from ingest.errors import BrokerError
from plumewatch.config.faults import ConfigError, ConfigFault, toml_fault
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


class StaffAnswer(BaseModel):
    """One member of staff and where notices go; the address is a secret."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[str, Field(min_length=1, max_length=80)]
    role: Literal["staff", "facilities", "analyst", "admin"] = "staff"
    url: Annotated[str, Field(repr=False)] = ""
    url_file: Path | None = None
    url_env: str = ""

    @field_validator("url")
    @classmethod
    def _is_valid_target(cls, value: str) -> str:
        faults = check_target(Secret(value), NotifySettings(allow_private=True)) if value else []
        if faults:
            raise ValueError(f"no address for notices: {faults[0]}")
        return value


class InfluxAnswer(BaseModel):
    """An InfluxDB for the readings, and an administrator's rights, which are used once."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: Annotated[str, Field(min_length=1)]
    database: str = "plumewatch"
    org: str = ""
    username: str = ""
    token: Annotated[str, Field(repr=False)] = ""
    token_file: Path | None = None
    token_env: str = ""
    ca_file: Path | None = None


class Answers(BaseModel):
    """The answers; all but the name of the school may be left out."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    site: Annotated[str, Field(min_length=1, max_length=80)]
    timezone: str = "UTC"
    broker: str = "127.0.0.1:1883"
    ca_file: Path | None = None
    username: str = ""
    password_file: Path | None = None
    password: Annotated[str, Field(repr=False)] = ""
    listen_s: Annotated[float, Field(ge=1, le=3600)] = 20.0
    influx: InfluxAnswer | None = None
    rooms: dict[str, str] = {}
    staff: list[StaffAnswer] = []
    public_url: str = ""
    broker_folder: str = "/etc/mosquitto"
    test_notice: bool = True

    @field_validator("timezone")
    @classmethod
    def _known(cls, value: str) -> str:
        return _zone(value)

    @field_validator("broker")
    @classmethod
    def _an_address(cls, value: str) -> str:
        return _broker(value)

    @field_validator("public_url")
    @classmethod
    def _a_page(cls, value: str) -> str:
        return page_address(value)


def address(text: str) -> tuple[str, int, bool]:
    """Read ``[mqtt[s]://]host[:port]`` into host, port, and whether TLS is spoken.

    Examples
    --------
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
    base = path.resolve().parent
    for key in ("password_file", "ca_file"):
        if isinstance(tree.get(key), str):
            tree[key] = base / tree[key]
    influx = tree.get("influx")
    for key in ("token_file", "ca_file"):
        if isinstance(influx, dict) and isinstance(influx.get(key), str):
            influx[key] = base / influx[key]
    for person in tree.get("staff", []):
        if isinstance(person, dict) and isinstance(person.get("url_file"), str):
            person["url_file"] = base / person["url_file"]
    try:
        return Answers.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(
            [
                ConfigFault(
                    path=".".join(map(str, found["loc"])),
                    value="missing" if found["type"] == "missing" else "not valid",
                    allowed=_reason(found["type"], str(found["msg"])),
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
    """Ask for what has to be known before listening to the broker.

    `reach` connects to the broker once; if that raises `BrokerError`, its questions come again.
    """
    site = ask_until_valid(lambda: question("Name of the school"), _name)
    zone = ask_until_valid(lambda: question("Time zone (IANA)", local_zone()), _zone)

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


def _zone(text: str) -> str:
    if text not in available_timezones():
        raise ValueError("a time zone of the IANA list, such as America/New_York")
    return text


def _broker(text: str) -> str:
    address(text)
    return text


def page_address(text: str) -> str:
    """Take the address of a page, or none.

    Examples
    --------
    >>> page_address("https://plumewatch.example.org"), page_address("")
    ('https://plumewatch.example.org', '')
    """
    try:
        return WebConfig(public_url=text).public_url
    except ValidationError:
        raise ValueError("https://host, as phones reach the staff page, or nothing") from None


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

    Examples
    --------
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

    Examples
    --------
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
