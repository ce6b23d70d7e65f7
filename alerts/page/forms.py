"""Forms that edit configuration sections and show faults next to their fields.

A form is a table of fields. The configuration is checked as a whole, as in `plumewatch check`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from dataclasses import field as dataclass_field
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Final

from alerts.incidents.free_text import clean_text
from alerts.page.config_file import Edit
from language.messages import _, write_clocks, write_date
from language.plain_text import make_id
from storage.audit import PROGRAM_IDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from starlette.datastructures import FormData

    from alerts.access.roles import Right
    from alerts.errors import EntryFault

MAX_ROWS: Final = 60
_TITLES: Final = frozenset({"name", "id", "reason", "people", "remove", "add"})
"""Keys that appear in entries' titles, so `Form.describe` omits them."""
_LONGEST_VALUE: Final = 40
_NUMBER: Final = re.compile(r"-?\d{1,9}(\.\d{1,6})?")


class Kind(StrEnum):
    """How a field is displayed and parsed."""

    TEXT = "text"
    NUMBER = "number"
    CHOICE = "choice"
    SEVERAL = "several"
    TIME = "time"
    DATE = "date"
    MOMENT = "datetime-local"
    ROWS = "rows"
    WORDS = "words"


@dataclass(frozen=True, slots=True)
class Field:
    """A form field for one key of an entry.

    `choices` returns values and their labels, given the whole configuration: the allowed ones, or
    suggestions if the field is typed. A new value that equals `default` is not written to the file.
    The value of `ROWS` is a list of tables, and that of `WORDS` a list of texts.
    """

    key: str
    label: str
    kind: Kind = Kind.TEXT
    choices: Callable[[Mapping[str, Any]], Mapping[str, str]] | None = None
    help: str = ""
    default: str = ""
    rows: tuple[Field, ...] = ()
    spare: int = 1
    """Number of empty rows after the existing ones."""
    asked_by: str = ""
    """Key of another field; this field appears only if the other one has a fault."""
    needs_choices: bool = False
    """Whether to show the field only if there are choices."""


@dataclass(frozen=True, slots=True)
class Form:
    """A form that edits the entries of `section`; `slug` identifies it in paths.

    - `title` returns an entry's title in a list.
    - `id_from` lists the keys that a new entry's id is built from.
    - `start` returns the initial values of a new entry, given the local time and the whole
      configuration.
    - `added_with` returns additional edits, given an entry and the whole configuration.
    - `is_shown` decides whether people see an entry, given the local time.
    - `own` lets people without the right edit the entry with their own id.
    - `unique` lists keys; no two entries can have the same values for all of them.
    """

    slug: str
    section: str
    name: str
    one: str
    lead: str
    right: Right
    fields: tuple[Field, ...]
    title: Callable[[Mapping[str, Any], Mapping[str, Any]], str] = lambda entry, _tree: str(
        entry.get("name", entry.get("id", ""))
    )
    id_from: tuple[str, ...] = ()
    start: Callable[[datetime, Mapping[str, Any]], Mapping[str, Any]] = lambda _now, _tree: {}
    added_with: Callable[[Mapping[str, Any], Mapping[str, Any]], list[Edit]] = (
        lambda _entry, _tree: []
    )
    is_shown: Callable[[Mapping[str, Any], datetime], bool] = lambda _entry, _now: True
    may_add: bool = True
    own: bool = False
    unique: tuple[str, ...] = ()

    def list_entries(
        self, tree: Mapping[str, Any], now: datetime
    ) -> list[tuple[int, dict[str, Any]]]:
        """Return the entries that are shown, with their indices in the section."""
        found = enumerate(tree.get(self.section, ()))
        return [(k, dict(entry)) for k, entry in found if self.is_shown(entry, now)]

    def describe(self, entry: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
        """Summarize an entry for a list, without its title."""
        known = {field.key: field for field in self.fields if field.key not in _TITLES}
        words = {k: _describe(known[k], entry[k], tree) for k in known if entry.get(k)}
        for first, last in (("start", "end"), ("first", "last")):
            if first in words and (end := words.pop(last, "")) not in ("", words[first]):
                words[first] += f" – {end}"
        return " · ".join(filter(None, words.values()))

    def read_values(self, form: FormData) -> dict[str, Any]:
        """Read the submitted values, except empty ones."""
        return dict(_read(form, self.fields))

    def merge_entry(
        self, old: Mapping[str, Any] | None, typed: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Merge the submitted values into an entry; keep keys that are not in the form."""
        known = {f.key: f for f in self.fields if not f.key.startswith("_")}
        entry = {k: v for k, v in (old or {}).items() if k not in known or k in typed}
        for key, value in typed.items():
            if key in known and str(value) == known[key].default and key not in (old or {}):
                continue
            entry[key] = value
        return entry

    def find_refused(
        self, tree: Mapping[str, Any], old: Mapping[str, Any], typed: Mapping[str, Any]
    ) -> dict[str, str]:
        """Return the faults that only the form checks, by field; `old` is empty for a new entry."""
        found = dict(_find_refused(self.fields, tree, old, typed))
        mine = [typed.get(key) for key in self.unique]
        others = [e for e in tree.get(self.section, ()) if e is not old]
        if any(mine) and mine in ([e.get(key) for key in self.unique] for e in others):
            found.setdefault(self.unique[0], _("There is already one with this name."))
        return found

    def build_edits(
        self,
        tree: Mapping[str, Any],
        index: int | None,
        typed: Mapping[str, Any],
        known: Iterable[Mapping[str, Any]] = (),
    ) -> list[Edit]:
        """Return the changes to the file for the submitted values.

        A new id differs from the ids and names of `known` entries, and from `PROGRAM_IDS`.
        """
        taken = {str(e.get(key)).casefold() for e in known for key in ("id", "name")} | PROGRAM_IDS
        if index is not None:
            old = tree[self.section][index]
            changed = self.merge_entry(old, typed)
            if "id" in self.id_from and changed.get("id") != old.get("id"):
                changed["id"] = make_id([changed.get("id", "")], taken, self.one)
            further = self.added_with({**typed, **changed}, tree)
            return [Edit(self.section, index, changed), *further]
        entry = self.merge_entry(None, {k: v for k, v in typed.items() if not k.startswith("_")})
        if self.id_from:
            given = [entry.get(key, "") for key in self.id_from]
            words = [word for one in given for word in (one if isinstance(one, list) else [one])]
            entry = {"id": "", **entry} | {"id": make_id(words, taken, self.one)}
        return [Edit(self.section, None, entry), *self.added_with({**typed, **entry}, tree)]

    def split_faults(
        self, faults: Iterable[EntryFault], index: int
    ) -> tuple[dict[str, str], list[str]]:
        """Split faults into a dict for display next to fields, and sentences for the rest."""
        names = {f.key for f in self.fields}
        beside: dict[str, str] = {}
        others = []
        for fault in faults:
            own = fault.path.removeprefix(f"{self.section}.{index}")
            name = own.removeprefix(".")
            if own == fault.path or (name and name.partition(".")[0] not in names):
                others.append(f"{fault.place}: {fault.value}: {fault.allowed}")
            elif name:
                beside.setdefault(name, _write_fault(fault))
            else:
                others.append(_write_fault(fault))
        return beside, others


@dataclass(slots=True)
class ShownField:
    """A field with its value, choices and fault, ready for the template."""

    field: Field
    name: str
    value: Any
    choices: Mapping[str, str]
    fault: str
    rows: list[list[ShownField]] = dataclass_field(default_factory=list)


def build_fields(
    fields: Sequence[Field],
    values: Mapping[str, Any],
    tree: Mapping[str, Any],
    faults: Mapping[str, str],
    prefix: str = "",
) -> list[ShownField]:
    """Prepare fields for the template."""
    found = []
    for one in fields:
        name, value = f"{prefix}{one.key}", values.get(one.key, one.default)
        choices = one.choices(tree) if one.choices else {}
        if (one.needs_choices and not choices) or (one.asked_by and one.asked_by not in faults):
            continue
        fault = faults.get(name, "")
        made = ShownField(one, name, _write_value(one, value), choices, fault)
        if one.kind is Kind.ROWS:
            rows = value if isinstance(value, list) else []
            spare: list[dict[str, Any]] = [{}] * min(one.spare, MAX_ROWS - len(rows))
            made.rows = [
                build_fields(one.rows, row, tree, faults, f"{name}.{k}.")
                for k, row in enumerate((*rows, *spare))
            ]
            inner = {n for row in made.rows for cell in row for n in (cell.name,)}
            lost = [t for n, t in faults.items() if n.startswith(f"{name}.") and n not in inner]
            made.fault = " ".join(dict.fromkeys(filter(None, (fault, *lost))))
        elif not fault:  # a fault in one of several values
            made.fault = next((t for n, t in faults.items() if n.startswith(f"{name}.")), "")
        found.append(made)
    return found


def _describe(field: Field, value: Any, tree: Mapping[str, Any]) -> str:
    if field.kind in {Kind.ROWS, Kind.NUMBER}:
        return f"{_(field.label)}: {len(value) if isinstance(value, list) else value}"
    if isinstance(value, datetime):
        return write_date(value, "moment")
    if isinstance(value, date):
        return write_date(value, "short date")
    if field.kind is Kind.TIME:
        return write_clocks(value)
    choices = field.choices(tree) if field.choices else {}
    if field.needs_choices and not choices:
        return ""
    values = value if isinstance(value, list) else [value]
    return ", ".join(choices.get(str(one), str(one)) for one in values)


def _find_refused(
    fields: Sequence[Field],
    tree: Mapping[str, Any],
    old: Mapping[str, Any],
    typed: Mapping[str, Any],
    prefix: str = "",
) -> Iterator[tuple[str, str]]:
    """Yield faults for values that are not among the choices, and for wrong time spans."""
    for one in fields:
        value, name = typed.get(one.key), f"{prefix}{one.key}"
        if value is None:
            continue
        if one.kind is Kind.ROWS:
            was = old.get(one.key, ())
            for k, row in enumerate(value):
                kept = {key: v for key, v in row.items() if any(r.get(key) == v for r in was)}
                yield from _find_refused(one.rows, tree, kept, row, f"{name}.{k}.")
        elif one.kind in {Kind.CHOICE, Kind.SEVERAL} and one.choices is not None:
            values = value if isinstance(value, list) else [value]
            if value != old.get(one.key) and not set(map(str, values)) <= set(one.choices(tree)):
                yield name, _("Choose from the list.")
    if {"start", "end"} <= {f.key for f in fields if f.kind is Kind.TIME}:
        asks = any(one.asked_by == "end" for one in fields)
        if fault := _check_span(old, typed, asks=asks):
            yield f"{prefix}end", fault


def _check_span(old: Mapping[str, Any], typed: Mapping[str, Any], *, asks: bool) -> str:
    """Return what is wrong with new times; with `asks`, ask whether the end is on the next day."""
    start, end = typed.get("start"), typed.get("end")
    if start and start == end:
        return _("Start and end are the same. For all day, use 12:00 AM to 11:59 PM.")
    is_new = (start, end) != (old.get("start"), old.get("end"))
    if asks and is_new and start and end and end < start and not typed.get("_next_day"):
        return _("It ends before it starts. Does it end the next day?")
    return ""


def find_changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> tuple[dict[str, Any], ...]:
    """Return the old and the new values of the keys that differ."""
    keys = [k for k in {**old, **new} if old.get(k) != new.get(k)]
    return {k: old[k] for k in keys if k in old}, {k: new[k] for k in keys if k in new}


def _read(form: FormData, fields: Iterable[Field], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for one in fields:
        value = _read_field(form, one, f"{prefix}{one.key}")
        if value not in ("", []):
            yield one.key, value


def _read_field(form: FormData, one: Field, name: str) -> Any:
    if one.kind is Kind.ROWS:
        rows = (dict(_read(form, one.rows, f"{name}.{k}.")) for k in range(MAX_ROWS))
        usual = {field.key: field.default for field in one.rows}
        return [row for row in rows if any(v != usual.get(k) for k, v in row.items())]
    if one.kind is Kind.SEVERAL:
        return [value for value in form.getlist(name) if isinstance(value, str) and value]
    given = form.get(name, "")
    text = clean_text(given) if isinstance(given, str) else ""
    if one.kind is Kind.WORDS:
        return [word for word in (part.strip() for part in text.split(",")) if word]
    if one.kind is Kind.NUMBER and _NUMBER.fullmatch(text):
        return float(text) if "." in text else int(text)
    if one.kind in {Kind.DATE, Kind.MOMENT}:
        return _parse_date(one.kind, text)
    return text


def _parse_date(kind: Kind, text: str) -> date | datetime | str:
    try:
        return date.fromisoformat(text) if kind is Kind.DATE else datetime.fromisoformat(text)
    except ValueError:
        return text  # the configuration check will report the fault


def _write_value(one: Field, value: Any) -> Any:
    if isinstance(value, datetime):
        return value.replace(tzinfo=None).isoformat(timespec="minutes")
    if isinstance(value, date):
        return value.isoformat()
    if one.kind is Kind.WORDS:
        return ", ".join(map(str, value)) if isinstance(value, list) else value
    return value


def _write_fault(fault: EntryFault) -> str:
    if fault.value in {"missing", "''", "nobody"}:
        return _("Required.")
    value = fault.value.strip("'\"")
    cut = f"{value[:_LONGEST_VALUE]}…" if len(value) > _LONGEST_VALUE else value
    return f"“{cut}”: {fault.allowed}."


def find_day_end(now: datetime) -> datetime:
    """Return 6:00 PM today, or the next midnight if that has passed."""
    evening = now.replace(hour=18, minute=0, second=0, microsecond=0)
    if now < evening:
        return evening
    return now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
