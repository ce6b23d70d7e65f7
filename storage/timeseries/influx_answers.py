"""Classify the refusals of InfluxDB by a table of rules, and explain them in a sentence.

InfluxDB 1.x, 2.x and 3 use different words for the same thing, and similar words for different
things. So each rule checks the status, the error code (2.x only), and a pattern for the whole
message. The table is tested with responses recorded from 1.6.7, 1.12.4, 2.8.0 and 3 Core.

If the server refuses a write because of its content, that is a `BatchRefusedError`. The server may
have stored some of the readings; storing them again changes nothing. Any other error is a
`StorageUnavailableError`, and the readings wait in the journal.
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

    TOKEN = "token"  # noqa: S105 - not a secret
    NO_WRITE = "no permission to write"
    NO_RIGHT = "no permission"
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
"""The server refused the content, and would refuse it again."""
_SETUP: Final = "`plumewatch storage setup`"
_ACCOUNT: Final = (
    "`plumewatch storage setup --admin-token-file FILE --service-file FILE` creates an account that"
    " does"
)


class _Rule(NamedTuple):
    """A meaning, and the answers that have it; `code` is the error code of 2.x."""

    meaning: Meaning
    statuses: tuple[int, ...] = ()
    """An empty tuple matches any status."""
    phrase: str = ".*"
    """Regular expression that matches the whole message in lowercase."""
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
"""The first matching rule applies."""


def classify_answer(status: int, message: str, code: str = "") -> Meaning | None:
    """Return the meaning of an answer; None if it is not a refusal.

    `message`: also set for a failed InfluxQL query, which has status 200.
    `code`: the error code of 2.x.
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
    """Return the error message in an answer, on one line; handles InfluxQL answers too."""
    try:
        found = msgspec.json.decode(body)
    except msgspec.DecodeError:
        return clean(body[:1000].decode("utf-8", "replace"))
    if not isinstance(found, dict):
        return ""
    text = found.get("error") or found.get("message")
    if not text and isinstance(results := found.get("results"), list):
        text = next((r["error"] for r in results if isinstance(r, dict) and "error" in r), "")
    with suppress(KeyError, LookupError, TypeError):  # InfluxDB 3 lists the refused lines
        text = f"{text}: {found['data'][0]['error_message']}"
    return clean(str(text or ""))


def find_code(body: bytes) -> str:
    """Return the error code in an answer of 2.x, or an empty string."""
    with suppress(msgspec.MsgspecError):
        return msgspec.json.decode(body, type=_Coded).code
    return ""


class _Coded(msgspec.Struct):
    code: str = ""


def explain_answer(
    meaning: Meaning, status: int, message: str, *, url: str, name: str, org: str, container: str
) -> str:
    """Return a sentence that explains what is wrong and how to correct it.

    `name`: name of the database or bucket, depending on `container`.
    """
    where, detail = f"{container} {name!r}", f" ({message[:_DETAIL]})" if message else ""
    no_right = f"{url}: the token or user has no permission to"
    missing = f"{url} has no {where}{detail}; {_SETUP} creates it"
    sentences = {
        Meaning.TOKEN: f"{url} does not accept the token or password{detail}",
        Meaning.NO_WRITE: f"{no_right} write to {where}{detail}; {_ACCOUNT}",
        Meaning.NO_RIGHT: f"{no_right} use {where}{detail}; {_ACCOUNT}",
        Meaning.NO_ORG: f"{url} has no organization {org!r}, or does not show it to this token"
        f"{detail}: correct timeseries.org; setup needs a token that can read organizations",
        Meaning.ORG_NOT_NAMED: "timeseries.org is missing: name the organization of"
        f" {where} at {url}{detail}",
        Meaning.NO_BUCKET: missing,
        Meaning.NO_DATABASE: missing,
        Meaning.NO_POLICY: f"{url}: {where} is not set up{detail}; run {_SETUP}",
    }
    if container == "bucket":  # 2.x says "not found" for lack of permission
        policy, cannot = message.rpartition(": ")[2], f"{url}: the token cannot read bucket"
        sentences |= {
            Meaning.NO_DATABASE: f"{cannot} {name!r}{detail}: it has no permission to read, or the"
            f" bucket is not mapped; run {_SETUP}, or {_ACCOUNT}",
            Meaning.NO_POLICY: f"{cannot} '{name}/{policy}'{detail}: it has no permission, or the"
            f" bucket does not exist; run {_SETUP}, or {_ACCOUNT}",
        }
    return sentences.get(meaning, f"{url} answers {status}{detail}")
