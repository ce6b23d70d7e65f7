"""Classify refusals of an InfluxDB by one table, and explain them in a sentence.

The generations use different words for the same thing, and similar words for different things. So
each rule checks the status, the code of 2.x, and phrases of the whole message. The table is tested
with recorded answers of 1.6.7, 1.12.4, 2.8.0 and 3 Core. A write that is refused because of its
content, perhaps in part, is a `BatchRefusedError`; storing its other readings again changes
nothing. Everything else is a `StorageUnavailableError`, and readings are kept.
"""

from __future__ import annotations

import re
from contextlib import suppress
from enum import StrEnum
from typing import Final, NamedTuple

import msgspec

from language.messages import clean

_DETAIL: Final = 200


class Meaning(StrEnum):
    """Meaning of an answer."""

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
    CONTENT = "content"
    OTHER = "other"


REFUSED: Final = frozenset({Meaning.CONTENT, Meaning.TOO_OLD, Meaning.EMPTY})
"""The content was refused, and would be refused again."""
_SETUP: Final = "`plumewatch storage setup`"
_ACCOUNT: Final = (
    "`plumewatch storage setup --admin-token-file FILE --service-file FILE` makes an account that"
    " has it"
)


class _Rule(NamedTuple):
    """A meaning, and the answers that have it; the codes are those of 2.x."""

    meaning: Meaning
    statuses: tuple[int, ...] = ()
    """Empty means any."""
    phrase: str = ".*"
    """Regular expression for the whole message in lower case."""
    code: str = ""


_CONTENT: Final = (400, 413, 422)
_TOO_OLD: Final = (
    r"(.*: )?partial write: (points beyond retention policy|dropped \d+ points outside retention"
    r" policy of duration) .*"
)
_RULES: Final = (
    _Rule(Meaning.NO_RIGHT, (401,), "(read|write):.* is unauthorized", "unauthorized"),
    _Rule(Meaning.TOKEN, (401,)),
    _Rule(Meaning.NO_WRITE, (403,), "insufficient permissions for write", "forbidden"),
    _Rule(Meaning.NO_WRITE, (403,), ".*authorized to write.*"),
    _Rule(Meaning.NO_RIGHT, (403,)),
    _Rule(Meaning.NO_RIGHT, (200,), "insufficient permissions"),
    _Rule(Meaning.ORG_NOT_NAMED, (400,), "please provide either orgid or org", "invalid"),
    _Rule(Meaning.NO_ORG, (404,), "organization .*not found", "not found"),
    _Rule(Meaning.NO_BUCKET, (404,), "bucket .*not found", "not found"),
    _Rule(Meaning.NO_DATABASE, phrase="database not found(: .*)?"),
    _Rule(Meaning.NO_POLICY, phrase="retention policy not found(: .*)?"),
    _Rule(Meaning.EXISTS, (409,)),
    _Rule(Meaning.EXISTS, (422,), code="conflict"),
    _Rule(Meaning.TOO_OLD, (422,), _TOO_OLD, "unprocessable entity"),
    _Rule(Meaning.TOO_OLD, (400,), _TOO_OLD),
    _Rule(
        Meaning.EMPTY,
        _CONTENT,
        ".*(requires points|no points|incoming write was empty|missing line|no data).*",
    ),
    _Rule(Meaning.OTHER, phrase=".*(no space left|read-only|read only|readonly).*"),
    _Rule(Meaning.CONTENT, _CONTENT),
    _Rule(Meaning.NO_DATABASE, (404,)),
)
"""The first matching rule decides."""


def classify_answer(status: int, message: str, code: str = "") -> Meaning | None:
    """Return the meaning of an answer with the server's message; None if it is not a refusal.

    InfluxQL refuses with status 200 and a message. `code`: the code of a 2.x.
    """
    if status < 300 and not message:
        return None
    words = message.lower()
    for rule in _RULES:
        if (
            (not rule.statuses or status in rule.statuses)
            and rule.code in ("", code)
            and re.fullmatch(rule.phrase, words)
        ):
            return rule.meaning
    return Meaning.OTHER


def find_message(body: bytes) -> str:
    """Return the server's message in an answer, on one line, also for InfluxQL."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return clean(body[:1000].decode("utf-8", "replace"))
    if not isinstance(found, dict):
        return ""
    text = found.get("error") or found.get("message")
    if not text and isinstance(results := found.get("results"), list):
        text = next((r["error"] for r in results if isinstance(r, dict) and "error" in r), "")
    with suppress(KeyError, LookupError, TypeError):  # an InfluxDB 3 names the lines
        text = f"{text}: {found['data'][0]['error_message']}"
    return clean(str(text or ""))


def find_code(body: bytes) -> str:
    """Return the code in an answer of 2.x, or empty."""
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(body, type=_Coded).code
    return ""


class _Coded(msgspec.Struct):
    code: str = ""


def explain_answer(
    meaning: Meaning, status: int, message: str, *, url: str, name: str, org: str, holds: str
) -> str:
    """Return a sentence that says what is wrong and how to correct it.

    `name`: name of the database, or of the bucket if `holds` is ``bucket``.
    """
    where, detail = f"{holds} {name!r}", f" ({message[:_DETAIL]})" if message else ""
    no_right = f"{url}: the token or user has no right to"
    missing = f"{url} has no {where}{detail}; {_SETUP} creates it"
    sentences = {
        Meaning.TOKEN: f"{url} does not accept the token or password{detail}",
        Meaning.NO_WRITE: f"{no_right} write to {where}{detail}; {_ACCOUNT}",
        Meaning.NO_RIGHT: f"{no_right} {where}{detail}; {_ACCOUNT}",
        Meaning.NO_ORG: f"{url} has no organization {org!r}, or does not show it to this token"
        f"{detail}: correct timeseries.org; setup needs a token that may read organizations",
        Meaning.ORG_NOT_NAMED: "timeseries.org is missing: name the organization of"
        f" {where} at {url}{detail}",
        Meaning.NO_BUCKET: missing,
        Meaning.NO_DATABASE: missing,
        Meaning.NO_POLICY: f"{url}: {where} is not set up{detail}; run {_SETUP}",
    }
    if holds == "bucket":  # InfluxQL of 2.x calls missing what the token may not read
        policy, lets = message.rpartition(": ")[2], f"{url} lets this token read no bucket"
        sentences |= {
            Meaning.NO_DATABASE: f"{lets} {name!r}{detail}: it may only write, or the bucket is"
            f" not mapped; run {_SETUP}, or {_ACCOUNT}",
            Meaning.NO_POLICY: f"{lets} '{name}/{policy}'{detail}: it has no right to it, or the"
            f" bucket is not there; run {_SETUP}, or {_ACCOUNT}",
        }
    return sentences.get(meaning, f"{url} answers {status}{detail}")
