"""The forms of the settings pages: ``setting_forms.toml``, and what a table cannot say of them."""

from __future__ import annotations

import tomllib
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from alerts.access.roles import Right
from alerts.page.config_file import Edit
from alerts.page.forms import Field, Form, Kind, day_end, new_id
from alerts.words import WORDS
from language.messages import LANGUAGES, _, ngettext
from storage.registry import floor_name, names_of_place

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    Tree = Mapping[str, Any]

ADDRESS_FILES: Final = "_address_files"
UNREGISTERED: Final = "_unregistered"
ALL_SITES: Final = "*"
"""Keys that the page adds to the configuration, for choices that are not in it."""
_DAYS: Final = WORDS["day"]
_ROLES: Final = WORDS["role_choice"]


def _names(tree: Tree, section: str) -> dict[str, str]:
    entries = tree.get(section, ())
    return {str(e["id"]): str(e.get("name") or e["id"]) for e in entries if e.get("id")}


def _sites(tree: Tree) -> dict[str, str]:
    section = "site" if isinstance(tree.get("site"), list) else "sites"
    found = _names(tree, section)
    return found if len(found) > 1 else {}


def _sites_of_people(tree: Tree) -> dict[str, str]:
    found = _sites(tree)
    return {ALL_SITES: _("All schools"), **found} if found else {}


def _name(tree: Tree, section: str, key: object) -> str:
    return str(_names(tree, section).get(str(key), key or ""))


def _shifts(tree: Tree) -> dict[str, str]:
    return {s["id"]: _shift_words(s, tree) for s in tree.get("shift", ()) if s.get("id")}


def _shift_words(shift: Tree, tree: Tree) -> str:
    people = ", ".join(_name(tree, "staff", p) for p in shift.get("people", ()))
    return f"{shift.get('id', '')}: {people}" if people else str(shift.get("id", ""))


def _rooms(tree: Tree) -> dict[str, str]:
    sites = _sites(tree)
    return {
        r["id"]: names_of_place(
            str(r.get("name", "")), _place(r), sites.get(str(r.get("site", "")), "")
        )
        for r in tree.get("room", ())
        if r.get("id")
    }


def _place(room: Tree) -> str:
    parts = (floor_name(str(room.get("floor", ""))), str(room.get("building", "")))
    return ", ".join(filter(None, parts))


def _given(tree: Tree, key: str) -> dict[str, str]:
    return {name: name for name in tree.get(key, ())}


def _values(tree: Tree, section: str, key: str) -> dict[str, str]:
    found = (str(entry.get(key, "")) for entry in tree.get(section, ()))
    return {value: value for value in dict.fromkeys(found) if value}


def _receivers(tree: Tree) -> dict[str, str]:
    return {**_names(tree, "receiver"), **_values(tree, "staff", "role")}


def _periods(tree: Tree) -> dict[str, str]:
    names = (p.get("name", "") for b in tree.get("bells", ()) for p in b.get("periods", ()))
    return {"*": _("All periods"), **{name: name for name in dict.fromkeys(names) if name}}


def _span(entry: Tree) -> str:
    first, last = entry.get("first"), entry.get("last")
    if first and last:
        return _("%(first)s to %(last)s", first=first, last=last)
    return str(first or last or "")


def _hours(entry: Tree) -> str:
    days = ", ".join(_DAYS.get(d, str(d))[:3] for d in entry.get("days") or ()) or _("every day")
    if entry.get("start") is None:
        return ", ".join(map(str, entry.get("periods", ()))).replace("*", _("all periods"))
    span = _("%(first)s to %(last)s", first=entry.get("start"), last=entry.get("end"))
    return f"{span}, {days}"


def _when(moment: object) -> str:
    return f"{moment:%a, %b %-d, %H:%M}" if isinstance(moment, datetime) else str(moment)


def _override_title(entry: Tree, tree: Tree) -> str:
    gone, new = (_name(tree, "staff", entry.get(key)) for key in ("remove", "add"))
    if gone and new:
        return _("%(new)s instead of %(gone)s", new=new, gone=gone)
    return _("%(new)s as well", new=new) if new else _("Without %(gone)s", gone=gone)


def _swapped(typed: Tree, _tree: Tree) -> list[Edit]:
    other = typed.get("_swap")
    if not other:
        return []
    given = {key: typed[key] for key in ("start", "end") if key in typed}
    people = {"add": typed.get("remove", ""), "remove": typed.get("add", "")}
    swapped = {"shift": other, **given, **{key: name for key, name in people.items() if name}}
    return [Edit("override", None, swapped)]


def _own_zone(room: Tree, tree: Tree) -> list[Edit]:
    """Add the zone of a room on a floor that is in none, where the school has zones."""
    zones = tree.get("zone", ())
    building, floor, site = (room.get(key, "") for key in ("building", "floor", "site"))
    here = [z for z in zones if not site or z.get("site", site) == site]
    near = [z for z in here if z.get("building") == building]
    if not (zones and building) or any(z.get("floor", "") in {"", floor} for z in near):
        return []
    key = new_id([site, building, floor], {str(z.get("id")) for z in zones}, "zone")
    place = {"building": building, "floor": floor, "site": site}
    return [Edit("zone", None, {"id": key, **{k: v for k, v in place.items() if v}})]


def _is_ahead(entry: Tree, now: datetime) -> bool:
    end = entry.get("end")
    if not isinstance(end, datetime):
        return True
    return (end if end.tzinfo else end.replace(tzinfo=now.tzinfo)) > now


def _sensor_detail(entry: Tree, tree: Tree) -> str:
    aliases = ", ".join(map(str, entry.get("aliases", ())))
    room = _rooms(tree).get(str(entry.get("room")), str(entry.get("room", "")))
    return _("%(room)s · also %(names)s", room=room, names=aliases) if aliases else room


def _person_detail(entry: Tree, _tree: Tree) -> str:
    count = len(entry.get("notify", ()))
    ways = ngettext("%(n)d channel", "%(n)d channels", count) if count else _("no channel")
    return f"{_ROLES.get(entry.get('role', 'staff'), '').partition(':')[0]} · {ways}"


def _bells_detail(entry: Tree, _tree: Tree) -> str:
    days = ", ".join(_DAYS.get(d, d)[:3] for d in entry.get("days") or ())
    periods = ngettext("%(n)d period", "%(n)d periods", len(entry.get("periods", ())))
    return ", ".join(filter(None, (days, periods, _span(entry))))


def _shift_detail(entry: Tree, tree: Tree) -> str:
    people = ", ".join(_name(tree, "staff", p) for p in entry.get("people", ()))
    return " · ".join(filter(None, (people, _hours(entry))))


def _silence_detail(entry: Tree, tree: Tree) -> str:
    place = _rooms(tree).get(str(entry.get("room")), str(entry.get("building", "")))
    return ", ".join(filter(None, (place, _hours(entry), _span(entry))))


def _override_detail(entry: Tree, _tree: Tree) -> str:
    first, last = _when(entry.get("start")), _when(entry.get("end"))
    return f"{entry.get('shift')}, " + _("%(first)s to %(last)s", first=first, last=last)


_CHOICES: Final[Mapping[str, Callable[..., Mapping[str, str]]]] = {
    "names": _names,
    "given": _given,
    "values": _values,
    "words": lambda _tree, table: WORDS[table],
    "languages": lambda _tree: LANGUAGES,
    "sites": _sites,
    "sites_of_people": _sites_of_people,
    "shifts": _shifts,
    "rooms": _rooms,
    "periods": _periods,
    "receivers": _receivers,
}
"""Values and their words from the whole configuration, by the name in the table."""
_CODE: Final[Mapping[str, Mapping[str, Any]]] = {
    "duty": {
        "title": _override_title,
        "detail": _override_detail,
        "start": lambda now: {"start": now.replace(second=0, microsecond=0), "end": day_end(now)},
        "added_with": _swapped,
        "is_shown": _is_ahead,
    },
    "quiet-hours": {
        "detail": lambda e, _tree: "; ".join(map(_hours, e.get("quiet_hours", ()))) or _("none"),
    },
    "people": {"detail": _person_detail},
    "rooms": {"detail": lambda e, _tree: _place(e), "added_with": _own_zone},
    "sensors": {"detail": _sensor_detail},
    "bells": {"detail": _bells_detail},
    "shifts": {"detail": _shift_detail},
    "silences": {"title": lambda e, _tree: str(e.get("reason", "")), "detail": _silence_detail},
    "holidays": {"detail": lambda e, _tree: _span(e)},
}
_TABLE: Final[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)


def _field(given: dict[str, Any]) -> Field:
    name, *arguments = given.pop("choices", "").split() or [""]
    chosen = _CHOICES[name] if name else None
    kind = Kind(given.pop("kind", Kind.TEXT))
    rows = _TABLE["rows"][given["key"]] if kind is Kind.ROWS else ()
    return Field(
        kind=kind,
        choices=chosen and (lambda tree: chosen(tree, *arguments)),
        rows=tuple(_field(dict(row)) for row in rows),
        **given,
    )


def _form(given: dict[str, Any]) -> Form:
    given["right"] = Right(given["right"])
    given["fields"] = map(_field, given["fields"])
    for key in ("fields", "id_from", "unique"):
        given[key] = tuple(given.get(key, ()))
    return Form(**given, **_CODE[given["slug"]])


FORMS: Final = tuple(map(_form, _TABLE["form"]))
