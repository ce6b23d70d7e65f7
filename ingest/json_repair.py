"""Repair broken JSON from small devices if it can have only one meaning.

The repair covers extra commas, missing values (as null), Python strings and words (``'a'``,
``None``, ``True``, ``nan``), names without quotes, and numbers as C prints them (``07``, ``.5``,
``41.``). Text that is cut off or could have two meanings is not repaired. The time is linear in the
length of the text, which is limited.
"""

from __future__ import annotations

import json
import re
from typing import Final

_LONGEST: Final = 16_384
_PIECE: Final = re.compile(
    r"""\s*(?:(?P<text>"(?:[^"\\]|\\.)*+")|(?P<single>'(?:[^'\\]|\\.)*+')|(?P<sign>[{}\[\]:,])"""
    r"""|(?P<number>[+-]?(?:\d++\.?\d*+|\.\d++)(?:[eE][+-]?\d++)?)(?=[\s,}\]]|\Z)"""
    r"""|(?P<word>-?[A-Za-z_][\w.-]*+))\s*""",
    re.DOTALL,
)
_WORDS: Final = {
    **dict.fromkeys(("null", "none", "undefined"), "null"),
    **dict.fromkeys(("nan", "-nan", "inf", "-inf", "infinity", "-infinity"), "NaN"),
    "true": "true",
    "false": "false",
}


def repair_json(text: str) -> str | None:
    """Return JSON with the same meaning, valid except for ``NaN``; None if it cannot be repaired.

    >>> repair_json("{pm25: 07.5, 'rh': , 'co2': None,}")
    '{"pm25":7.5,"rh":null,"co2":null}'
    >>> repair_json('{"pm25": 7 5}') is None, repair_json('{"pm25": yes}') is None
    (True, True)
    """
    if len(text) > _LONGEST:
        return None
    made: list[str] = []
    at = 0
    while at < len(text):
        found = _PIECE.match(text, at)
        if found is None:
            return None
        kind, piece = str(found.lastgroup), found[str(found.lastgroup)]
        at = found.end()
        before = made[-1] if made else ""
        if kind == "sign":
            if before == ":" and piece in ",}":
                made.append("null")
            elif before == "," and piece in "}]" and made[-2] not in "{[,":
                made.pop()
        elif before not in ("", *"{[:,"):
            return None
        made.append(_make_strict(kind, piece, is_name=text[at : at + 1] == ":"))
        if not made[-1]:
            return None
    return "".join(made)


def _make_strict(kind: str, piece: str, *, is_name: bool) -> str:
    """Return a token as strict JSON, or an empty string if its meaning is unclear."""
    if kind == "single":
        return json.dumps(piece[1:-1].replace("\\'", "'"), ensure_ascii=False)
    if kind == "number":
        whole, point, rest = piece.lstrip("+-").partition(".")
        digits = (whole.lstrip("0") or "0") if whole.isdecimal() or not whole else whole
        if point and not rest[:1].isdecimal():
            rest = f"0{rest}"
        return f"{'-' if piece[0] == '-' else ''}{digits}{point}{rest}"
    if kind == "word":
        return json.dumps(piece) if is_name else _WORDS.get(piece.lower(), "")
    return piece
