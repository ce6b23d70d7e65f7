"""Describe which values are allowed where Pydantic found an error, in the reader's language."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from language.messages import Message, mark
from language.plain_text import suggest_name

if TYPE_CHECKING:
    from collections.abc import Mapping

_PATTERN: Final = "string_pattern_mismatch"
_OF_TYPE: Final = {
    "missing": mark("required"),
    "string_type": mark("must be text"),
    "bool": mark("must be true or false"),
    "int": mark("must be a whole number"),
    "float": mark("must be a number"),
    "finite_number": mark("must be a number"),
    "date": mark("must be a date such as 2026-11-27"),
    "timezone_aware": mark("must have a time zone, such as Z"),
    "datetime": mark("must be a date and time such as 2026-11-27T10:05:00"),
    "list": mark("must be a list, such as [ ..., ... ]"),
    "dict": mark("must be a table, such as { key = value, ... }"),
    "model": mark("must be a table, such as { key = value, ... }"),
    "path": mark("must be the path of a file or folder"),
    "enum": mark("must be one of: %(expected)s"),
    "literal_error": mark("must be one of: %(expected)s"),
    "string_too_long": mark("must be at most %(max_length)s characters long"),
    "greater_than_equal": mark("must be at least %(ge)s"),
    "greater_than": mark("must be more than %(gt)s"),
    "less_than_equal": mark("must be at most %(le)s"),
    "less_than": mark("must be less than %(lt)s"),
    "string_too_short": mark("must not be empty"),
    "too_short": mark("needs more entries: at least %(min_length)s"),
    "too_long": mark("must have at most %(max_length)s entries"),
}
"""Messages by Pydantic's error type, or by its part before the first underscore."""
_OF_PATTERN: Final = {
    "https?": mark("must be an address that begins with http:// or https://"),
    "[A-Za-z0-9_:-][A-Za-z0-9_.:-]": mark(
        "may contain only letters, digits and . _ : -, and must not begin with a dot"
    ),
    "[A-Za-z0-9_.:-]": mark("may contain only letters, digits and . _ : -"),
    "[A-Za-z0-9_.-]": mark("may contain only letters, digits and . _ -"),
    "[A-Za-z0-9_/-]": mark("may contain only letters, digits and _ / -"),
    "[a-z0-9_-]": mark("may contain only lowercase letters, digits and _ -"),
    "[a-z0-9_]": mark("may contain only lowercase letters, digits and _"),
    "[0-9A-Fa-f]": mark("must be pairs of hexadecimal digits (0-9, A-F)"),
    "+@": mark("must be an e-mail address"),
    "[^": mark("must not contain spaces"),
}
"""Messages by a part of the regular expression; the first match counts."""


def describe_allowed(error: Mapping[str, Any]) -> str | Message:
    """Describe which values are allowed where Pydantic found an error.

    >>> print(describe_allowed({"type": "int_parsing", "msg": "Input should be ..."}))
    must be a whole number
    """
    kind, context = str(error["type"]), dict(error.get("ctx", {}))
    if kind == "value_error":
        reason = context["error"].args[0]
        return reason if isinstance(reason, Message) else f"must be {reason}"
    if kind == _PATTERN:
        pattern = str(context["pattern"])
        found = next((words for part, words in _OF_PATTERN.items() if part in pattern), "")
        return Message(found) if found else str(error["msg"])
    if "expected" in context:
        expected = str(context["expected"]).replace(" or ", ", ")
        near = suggest_name(str(error.get("input", "")), expected.replace("'", "").split(", "))
        context["expected"] = expected + near
    words = _OF_TYPE.get(kind) or _OF_TYPE.get(kind.partition("_")[0], "")
    return Message(words, context) if words else str(error["msg"])
