"""What a refusal of an InfluxDB means, by one table, and the sentence that people read.

The generations say the same in different words, and different things in similar words, so a rule
looks at the status, the code of 2.x (``X-Platform-Error-Code``) and phrases of the whole message.
The first rule that fits decides. The table is tested against what 1.6.7, 1.12.4, 2.8.0 and 3 Core
answered.

=====================  =========================================================================
answer to a write      meaning
=====================  =========================================================================
2xx                    stored (by default on the server's disk before it answers)
400, 413, 422          refused for its content, perhaps in part: `BatchRefusedError`. What was
                       stored is stored again, onto itself
429, 503               not now: `StorageUnavailableError` with ``Retry-After``
401, 403, 404          token, right, bucket, organization: readings are kept
                       (`StorageUnavailableError`) until somebody corrects it
all else, no answer    `StorageUnavailableError`
=====================  =========================================================================
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import Final

import msgspec

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
_CONTENT: Final = frozenset({400, 413, 422})
_TOO_OLD: Final = (
    "(.*: )?partial write: (points beyond retention policy"
    "|dropped \\d+ points outside retention policy of duration) .*"
)
_ANY: Final[frozenset[int]] = frozenset()
_RULES: Final[tuple[tuple[Meaning, frozenset[int], str], ...]] = (
    (Meaning.NO_RIGHT, frozenset({401}), "(read|write):.* is unauthorized"),
    (Meaning.TOKEN, frozenset({401}), ".*"),
    (
        Meaning.NO_WRITE,
        frozenset({403}),
        "insufficient permissions for write|.*authorized to write.*",
    ),
    (Meaning.NO_RIGHT, frozenset({403}), ".*"),
    (Meaning.NO_RIGHT, frozenset({200}), "insufficient permissions"),
    (Meaning.ORG_NOT_NAMED, frozenset({400}), "please provide either orgid or org"),
    (Meaning.NO_ORG, frozenset({404}), "organization .*not found"),
    (Meaning.NO_BUCKET, frozenset({404}), "bucket .*not found"),
    (Meaning.NO_DATABASE, _ANY, "database not found(: .*)?"),
    (Meaning.NO_POLICY, _ANY, "retention policy not found(: .*)?"),
    (Meaning.EXISTS, frozenset({409}), ".*"),
    (
        Meaning.EXISTS,
        frozenset({422}),
        ".* (already )?exists|onboarding has already been completed",
    ),
    (Meaning.TOO_OLD, frozenset({400, 422}), _TOO_OLD),
    (
        Meaning.EMPTY,
        _CONTENT,
        ".*(requires points|no points|incoming write was empty|missing line|no data).*",
    ),
    (Meaning.DISK_FULL, _ANY, ".*no space left.*"),
    (Meaning.READ_ONLY, _ANY, ".*(read-only|read only|readonly).*"),
    (Meaning.CONTENT, _CONTENT, ".*"),
    (Meaning.NO_DATABASE, frozenset({404}), ".*"),
)
_SENTENCES: Final = {
    Meaning.TOKEN: "{url} does not accept the token or password{detail}",
    Meaning.NO_WRITE: "{url}: the token or user has no right to write to {holds} {name!r}{detail};"
    " {account}",
    Meaning.NO_RIGHT: "{url}: the token or user has no right to {holds} {name!r}{detail};"
    " {account}",
    Meaning.NO_ORG: "{url} has no organization {org!r}, or does not show it to this token{detail}:"
    " correct timeseries.org; setup needs a token that may read organizations",
    Meaning.ORG_NOT_NAMED: "timeseries.org is missing: name the organization of {holds} {name!r}"
    " at {url}{detail}",
    Meaning.NO_BUCKET: "{url} has no {holds} {name!r}{detail}; {setup} makes it",
    Meaning.NO_DATABASE: "{url} has no {holds} {name!r}{detail}; {setup} makes it",
    Meaning.NO_POLICY: "{url}: {holds} {name!r} is not set up{detail}; run {setup}",
    Meaning.READ_ONLY: "{url} accepts no writes at the moment{detail}",
    Meaning.DISK_FULL: "{url} has a full disk{detail}",
}
_BY_TOKEN: Final = {
    Meaning.NO_DATABASE: "{url} lets this token read no bucket {name!r}{detail}: it may only"
    " write, or the bucket is not mapped; run {setup}, or {account}",
    Meaning.NO_POLICY: "{url} lets this token read no bucket '{name}/{policy}'{detail}: it has no"
    " right to it, or the bucket is not there; run {setup}, or {account}",
}
"""InfluxQL of 2.x calls missing what the token may not read."""
_SETUP: Final = "`plumewatch storage setup`"
_ACCOUNT: Final = (
    "`plumewatch storage setup --admin-token-file FILE --service-file FILE` makes an account that"
    " has it"
)


def meaning_of(status: int, message: str) -> Meaning | None:
    """Return what an answer with the server's own message means; None if it refuses nothing.

    InfluxQL refuses with status 200 and a message.
    """
    if status < 300 and not message:
        return None
    words = message.lower()
    for meaning, statuses, phrase in _RULES:
        if (not statuses or status in statuses) and re.fullmatch(phrase, words):
            return meaning
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
    words = _SENTENCES.get(meaning, "{url} answers {status}{detail}")
    if holds == "bucket":
        words = _BY_TOKEN.get(meaning, words)
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
