"""Collect the messages of all packages into the catalogues: ``python -m language.catalogue``.

A message whose English text changed is a new one: nothing is guessed, so nothing is fuzzy.
"""

from __future__ import annotations

import io
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from babel.messages.catalog import Catalog
from babel.messages.extract import extract_from_dir
from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po, write_po

from language.messages import ENGLISH, LANGUAGES

if TYPE_CHECKING:
    from collections.abc import Iterator

_HERE: Final = Path(__file__).parent
_ROOT: Final = _HERE.parent
PACKAGES: Final = ("language", "detection", "storage", "reports", "alerts", "plumewatch")
_METHODS: Final = (
    ("**.py", "python"),
    ("**/templates/**.html", "jinja2"),
    ("**/static/*.js", "javascript"),
)
_KEYWORDS: Final = {
    "_": None,
    "gettext": None,
    "mark": None,
    "mark_plural": (1, 2),
    "later": None,
    "in_context": ((1, "c"), 2),
    "ngettext": (1, 2),
    "plural": (1, 2),
    # what people read of a table of columns or key figures
    "Column": (3,),
    "KeyFigure": (2,),
}
_OPTIONS: Final = {pattern: {"trimmed": "true"} for pattern, _ in _METHODS}
_PLACEHOLDER: Final = re.compile(r"%(?:\((\w+)\)[-+ 0-9.]*[a-z]|%|.)", re.DOTALL)
_HEADER: Final = """\
# Messages of Plumewatch in {name}. `make messages` collects them.
msgid ""
msgstr ""
"Content-Type: text/plain; charset=utf-8\\n"
"Language: {code}\\n"
"Plural-Forms: nplurals={plurals}; plural={rule};\\n"

"""


def collected() -> Catalog:
    """Return all messages of the source code."""
    template = Catalog(project="Plumewatch", header_comment="")
    for package in PACKAGES:
        found = extract_from_dir(
            _ROOT / package, list(_METHODS), dict(_OPTIONS), _KEYWORDS, strip_comment_tags=True
        )
        for name, line, message, _, context in found:
            template.add(message, None, [(f"{package}/{name}", line)], context=context)
    return template


def placeholders(text: str) -> set[str]:
    """Return the names of the placeholders of a message, and what is no placeholder.

    >>> sorted(placeholders("%(n)d of %(all).1f %%, 5 % of"))
    ['% ', 'all', 'n']
    """
    return {m[1] or m[0] for m in _PLACEHOLDER.finditer(text) if m[0] != "%%"}


def faults(known: Catalog, template: Catalog) -> Iterator[str]:
    """Yield what is wrong with the catalogue of a language."""
    wanted = {(forms(e.id)[0], e.context): forms(e.id) for e in template if e.id}
    for (key, context), sources in wanted.items():
        found: Any = known.get(key, context)
        fault = "not in the catalogue" if found is None else _fault_of(found, sources)
        if fault:
            yield f"{fault}: {key!r}"
    for entry in known:
        if entry.id and (forms(entry.id)[0], entry.context) not in wanted:
            yield f"no longer used: {forms(entry.id)[0]!r}"


def _fault_of(entry: Any, sources: tuple[str, ...]) -> str:
    found = forms(entry.string)
    if len(found) != len(sources) or not all(found):
        return "no translation"
    if entry.fuzzy:
        return "fuzzy"
    for source, form in zip(sources, found, strict=True):
        names, theirs = placeholders(source), placeholders(form)
        odd = [name for name in names | theirs if not name.isidentifier()]
        if odd and len(odd) < len(names | theirs):  # otherwise nothing is filled in
            return "a percent sign that is neither a placeholder nor %%"
        if theirs != names and not (len(sources) > 1 and theirs < names):
            return "other placeholders"
    return ""


def forms(text: Any) -> tuple[str, ...]:
    """Return the one form of a message, or both of a plural."""
    return tuple(text) if isinstance(text, tuple | list) else (text,)


def load(code: str) -> Catalog:
    """Return the catalogue of a language, empty if there is none yet."""
    path = _HERE / f"{code}.po"
    if not path.exists():
        return Catalog(locale=code)
    with path.open("rb") as file:
        return read_po(file, locale=code)


def update(code: str, template: Catalog) -> list[str]:
    """Write the catalogue of a language anew; return what is missing in it."""
    known, made = load(code), Catalog(locale=code, fuzzy=False)
    for entry in template:
        if entry.id:
            before: Any = known.get(forms(entry.id)[0], entry.context)
            same = before is not None and len(forms(before.id)) == len(forms(entry.id))
            files = sorted({(name, 0) for name, _ in entry.locations})
            made.add(entry.id, before.string if same else None, files, context=entry.context)
    header = _HEADER.format(
        name=LANGUAGES[code], code=code, plurals=made.num_plurals, rule=made.plural_expr
    )
    with (_HERE / f"{code}.po").open("wb") as file:
        file.write(header.encode())
        write_po(file, made, width=100, omit_header=True, sort_by_file=True, include_lineno=False)
    (_HERE / f"{code}.mo").write_bytes(compiled(code))
    return list(faults(load(code), template))


def compiled(code: str) -> bytes:
    """Return the catalogue of a language as `gettext` reads it; the same for the same messages."""
    known, made = load(code), io.BytesIO()
    known.creation_date = known.revision_date = datetime.fromtimestamp(0, UTC)
    write_mo(made, known)
    return made.getvalue()


def main() -> None:
    """Bring all catalogues up to date and print what they lack."""
    template = collected()
    for code in LANGUAGES:
        if code != ENGLISH:
            for fault in update(code, template):
                print(f"{code}.po: {fault}")  # noqa: T201 - a command of development


if __name__ == "__main__":
    main()
