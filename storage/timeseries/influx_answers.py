"""What a refusal of an InfluxDB means, by one table, and the sentence that people read.

The generations say the same in different words, and different things in similar words, so a rule
looks at the status, the code of 2.x (``X-Platform-Error-Code``) and phrases of the whole message.
The table is tested against what 1.6.7, 1.12.4, 2.8.0 and 3 Core answered. A write that is refused
for its content, perhaps in part, is a `BatchRefusedError`: what was stored is stored again, onto
itself. All else is a `StorageUnavailableError`, and readings are kept.
"""

from __future__ import annotations

import re
import tomllib
from contextlib import suppress
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

CODE: Final = "X-Platform-Error-Code"
_DETAIL: Final = 200


class Meaning(StrEnum):
    """What an answer says."""

    TOKEN = "token"  # noqa: S105 - no secret
    NO_WRITE = "no right to write"
    NO_RIGHT = "no right"
    NO_ORG = "no organization"
    ORG_NOT_NAMED = "organization not named"
    NO_BUCKET = "no bucket"
    NO_DATABASE = "no database"
    NO_POLICY = "no policy"
    EXISTS = "exists"
    TOO_OLD = "too old"
    EMPTY = "nothing to write"
    READ_ONLY = "read-only"
    DISK_FULL = "disk full"
    CONTENT = "content"
    OTHER = "other"


REFUSED: Final = frozenset({Meaning.CONTENT, Meaning.TOO_OLD, Meaning.EMPTY})
"""Refused for what was sent; the same would be refused again."""
_SETUP: Final = "`plumewatch storage setup`"
_ACCOUNT: Final = (
    "`plumewatch storage setup --admin-token-file FILE --service-file FILE` makes an account that"
    " has it"
)


class _Rule(msgspec.Struct, frozen=True):
    meaning: Meaning
    statuses: tuple[int, ...] = ()
    phrase: str = ".*"
    code: str = ""


class _Table(msgspec.Struct, frozen=True):
    rule: tuple[_Rule, ...]
    sentences: dict[Meaning, str]
    sentences_of_2: dict[Meaning, str]


_TABLE: Final = msgspec.convert(
    tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")), _Table
)


def meaning_of(status: int, message: str, code: str = "") -> Meaning | None:
    """Return what an answer with the server's own message means; None if it refuses nothing.

    InfluxQL refuses with status 200 and a message. `code` is the header `CODE` of 2.x.
    """
    if status < 300 and not message:
        return None
    words = message.lower()
    for rule in _TABLE.rule:
        if (
            (not rule.statuses or status in rule.statuses)
            and rule.code in ("", code)
            and re.fullmatch(rule.phrase, words)
        ):
            return rule.meaning
    return Meaning.OTHER


def message_in(body: bytes) -> str:
    """Return the server's own words in an answer, in one line; those of InfluxQL too."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return _one_line(body[:1000].decode("utf-8", "replace"))
    if not isinstance(found, dict):
        return ""
    text = found.get("error") or found.get("message")
    if not text and isinstance(results := found.get("results"), list):
        text = next((r["error"] for r in results if isinstance(r, dict) and "error" in r), "")
    if lines := refused_lines(body):
        number = min(lines)
        text = f"{text}: line {number + 1}: {lines[number]}"
    return _one_line(str(text or ""))


def code_in(body: bytes) -> str:
    """Return the code in an answer of 2.x: that of the header `CODE`, which a proxy may drop."""
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(body, type=_Coded).code
    return ""


class _Coded(msgspec.Struct):
    code: str = ""


class _RefusedLine(msgspec.Struct):
    line_number: int
    error_message: str = ""


class _RefusedLines(msgspec.Struct):
    data: list[_RefusedLine]


def refused_lines(body: bytes) -> dict[int, str]:
    """Return which lines of a write an InfluxDB 3 refuses, from 0, and why; it has the others."""
    try:
        found = msgspec.json.decode(body, type=_RefusedLines)
    except msgspec.MsgspecError:
        return {}
    return {line.line_number - 1: _one_line(line.error_message) for line in found.data}


def _one_line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())


def sentence(
    meaning: Meaning, status: int, message: str, *, url: str, name: str, org: str, holds: str
) -> str:
    """Say what is wrong, and where it is corrected.

    `name`: of the database, or of the bucket where `holds` says so.
    """
    words = _TABLE.sentences.get(meaning, "{url} answers {status}{detail}")
    if holds == "bucket":
        words = _TABLE.sentences_of_2.get(meaning, words)
    return words.format(
        url=url,
        name=name,
        org=org,
        holds=holds,
        status=status,
        policy=message.rpartition(": ")[2],
        detail=f" ({message[:_DETAIL]})" if message else "",
        setup=_SETUP,
        account=_ACCOUNT,
    )
