"""Collect the messages of `PACKAGES` into the catalogs: ``python -m language.catalog``.

A message with changed English text is a new message; translations are never guessed.
"""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from babel.messages import extract as python
from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from language.messages import ENGLISH, LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

    from babel.messages.catalog import Message

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parent
PACKAGES: Final = ("language", "detection", "storage", "reports", "alerts", "plumewatch")
_METHODS: Final = (
    ("**.py", "language.catalog:extract_python"),
    ("**/templates/**.html", "jinja2"),
    ("**/static/*.js", "javascript"),
)
_KEYWORDS: Final = {
    "_": None,
    "gettext": None,
    "mark": None,
    "mark_words": None,
    "mark_plural": (1, 2),
    "defer": None,
    "ProviderError": None,
    "NotAuthenticatedError": None,
    "in_context": ((1, "c"), 2),
    "ngettext": (1, 2),
    "plural": (1, 2),
    # titles in tables of columns and key figures
    "Column": (3,),
    "KeyFigure": (2,),
}
_OPTIONS: Final = {pattern: {"trimmed": "true"} for pattern, _ in _METHODS}
_NAMED: Final = re.compile(r"%\((\w+)\)")
_HEADER: Final = """\
# Messages of Plumewatch in {name}. `make messages` collects them.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Language: {code}\\n"
"Plural-Forms: nplurals={plurals}; plural={rule};\\n"

"""


def collect() -> Catalog:
    """Return all messages of the source code."""
    template = Catalog(project="Plumewatch", header_comment="")
    for package in sorted(PACKAGES):
        found = extract_from_dir(
            _ROOT / package, list(_METHODS), dict(_OPTIONS), _KEYWORDS, strip_comment_tags=True
        )
        for name, _line, message, _, context in found:
            template.add(message, None, [(f"{package}/{name}", 0)], context=context)
    return template


def extract_python(
    file: Any, keywords: Any, tags: Any, options: Any
) -> Iterator[tuple[int, Any, Any, Any]]:
    """Yield the messages of a Python file; `mark_words` marks several in one text."""
    for line, function, message, comments in python.extract_python(file, keywords, tags, options):
        words: list[Any] = [message]
        if function == "mark_words":
            words = str(message).split(", ")
        yield from ((line, function, word, comments) for word in words)


def find_faults(known: Catalog, template: Catalog) -> Iterator[str]:
    """Update a language's catalog, and yield its faults."""
    known.update(template, no_fuzzy_matching=True)
    for message in known.obsolete.values():
        yield f"no longer used: {list_forms(message.id)[0]!r}"
    for message in known:
        fault = _find_fault(message, known) if message.id else ""
        if fault:
            yield f"{fault}: {list_forms(message.id)[0]!r}"


def _find_fault(message: Message, known: Catalog) -> str:
    sources, found = list_forms(message.id), list_forms(message.string)
    if not all(found):
        return "no translation"
    if message.fuzzy:
        return "fuzzy"
    lacking = set(_NAMED.findall(sources[-1])) - set(_NAMED.findall(found[-1]))
    wrong = [str(error) for error in message.check(known)]
    return "; ".join(wrong or [f"without {name}" for name in sorted(lacking)])


def list_forms(text: Any) -> tuple[str, ...]:
    """Return the form of a message, or both forms if it has a plural."""
    return tuple(text) if isinstance(text, tuple | list) else (text,)


def load(code: str) -> Catalog:
    """Return the catalog of a language; empty if there is none yet."""
    path = _HERE / f"{code}.po"
    if not path.exists():
        return Catalog(locale=code)
    with path.open("rb") as file:
        return read_po(file, locale=code)


def update(code: str, template: Catalog) -> list[str]:
    """Rewrite the catalog of a language; return its faults."""
    known = load(code)
    missing = list(find_faults(known, template))
    known.obsolete.clear()
    header = _HEADER.format(
        name=LANGUAGES[code], code=code, plurals=known.num_plurals, rule=known.plural_expr
    )
    with (_HERE / f"{code}.po").open("wb") as file:
        file.write(header.encode())
        write_po(file, known, width=100, omit_header=True, sort_by_file=True, include_lineno=False)
    (_HERE / f"{code}.mo").write_bytes(compile_catalog(code))
    return missing


def compile_catalog(code: str) -> bytes:
    """Return a language's compiled catalog; equal messages give equal bytes."""
    known, made = load(code), io.BytesIO()
    known.creation_date = known.revision_date = datetime.fromtimestamp(0, UTC)
    write_mo(made, known)
    return made.getvalue()


def main() -> None:
    """Update all catalogs and print their faults."""
    template = collect()
    for code in LANGUAGES:
        if code != ENGLISH:
            for fault in update(code, template):
                print(f"{code}.po: {fault}")  # noqa: T201 - a development command


if __name__ == "__main__":
    main()
