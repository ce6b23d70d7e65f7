"""The forms of the settings pages: one table each, over one section of the configuration."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from alerts.access.roles import Right
from alerts.notify.notice import KIND_WORDS
from alerts.page.forms import Field, Form, Kind, day_end
from storage.registry import floor_name

if TYPE_CHECKING:
    from collections.abc import Mapping

ADDRESS_FILES: Final = "_address_files"
UNREGISTERED: Final = "_unregistered"
"""Keys that the page adds to the configuration, for choices that are not in it."""
_DAYS: Final = {
    "mon": "Monday",
    "tue": "Tuesday",
    "wed": "Wednesday",
    "thu": "Thursday",
    "fri": "Friday",
    "sat": "Saturday",
    "sun": "Sunday",
}
_ROLES: Final = {
    "staff": "Staff: responds to alerts",
    "facilities": "Facilities: looks after sensors",
    "analyst": "Analyst: makes reports",
    "admin": "Administrator",
}


def _names(section: str) -> Any:
    def choices(tree: Mapping[str, Any]) -> dict[str, str]:
        entries = tree.get(section, ())
        return {str(e.get("id", "")): str(e.get("name") or e.get("id", "")) for e in entries}

    return choices


def _name(tree: Mapping[str, Any], section: str, key: object) -> str:
    return str(_names(section)(tree).get(str(key), key or ""))


def _shifts(tree: Mapping[str, Any]) -> dict[str, str]:
    return {s.get("id", ""): _shift_words(s, tree) for s in tree.get("shift", ())}


def _shift_words(shift: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    people = ", ".join(_name(tree, "staff", p) for p in shift.get("people", ()))
    return f"{shift.get('id', '')}: {people}" if people else str(shift.get("id", ""))


def _rooms(tree: Mapping[str, Any]) -> dict[str, str]:
    return {r.get("id", ""): f"{r.get('name', '')}, {_place(r)}" for r in tree.get("room", ())}


def _place(room: Mapping[str, Any]) -> str:
    parts = (floor_name(str(room.get("floor", ""))), str(room.get("building", "")))
    return ", ".join(filter(None, parts))


def _fixed(words: Mapping[str, str]) -> Any:
    return lambda _tree: words


def _given(key: str) -> Any:
    return lambda tree: {name: name for name in tree.get(key, ())}


def _values(section: str, key: str) -> Any:
    def choices(tree: Mapping[str, Any]) -> dict[str, str]:
        found = (str(entry.get(key, "")) for entry in tree.get(section, ()))
        return {value: value for value in dict.fromkeys(found) if value}

    return choices


def _periods(tree: Mapping[str, Any]) -> dict[str, str]:
    names = (p.get("name", "") for b in tree.get("bells", ()) for p in b.get("periods", ()))
    return {"*": "All periods", **{name: name for name in dict.fromkeys(names) if name}}


def _span(entry: Mapping[str, Any]) -> str:
    first, last = entry.get("first"), entry.get("last")
    return f"{first} to {last}" if first and last else str(first or last or "")


def _hours(entry: Mapping[str, Any]) -> str:
    days = ", ".join(_DAYS.get(d, str(d))[:3] for d in entry.get("days") or ()) or "every day"
    if entry.get("start") is None:
        return ", ".join(map(str, entry.get("periods", ()))).replace("*", "all periods")
    return f"{entry.get('start')} to {entry.get('end')}, {days}"


def _when(moment: object) -> str:
    return f"{moment:%a, %b %-d, %H:%M}" if isinstance(moment, datetime) else str(moment)


def _override_title(entry: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    gone, new = (_name(tree, "staff", entry.get(key)) for key in ("remove", "add"))
    if gone and new:
        return f"{new} instead of {gone}"
    return f"{new} as well" if new else f"Without {gone}"


def _swapped(typed: Mapping[str, Any]) -> list[dict[str, Any]]:
    other = typed.get("_swap")
    if not other:
        return []
    given = {key: typed[key] for key in ("start", "end") if key in typed}
    people = {"add": typed.get("remove", ""), "remove": typed.get("add", "")}
    return [{"shift": other, **given, **{key: name for key, name in people.items() if name}}]


def _is_ahead(entry: Mapping[str, Any], now: datetime) -> bool:
    end = entry.get("end")
    if not isinstance(end, datetime):
        return True
    return (end if end.tzinfo else end.replace(tzinfo=now.tzinfo)) > now


def _sensor_detail(entry: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    aliases = ", ".join(map(str, entry.get("aliases", ())))
    room = _rooms(tree).get(str(entry.get("room")), str(entry.get("room", "")))
    return f"{room} · also {aliases}" if aliases else room


def _person_detail(entry: Mapping[str, Any], _tree: Mapping[str, Any]) -> str:
    count = len(entry.get("notify", ()))
    ways = "no channel" if not count else "1 channel" if count == 1 else f"{count} channels"
    return f"{_ROLES.get(entry.get('role', 'staff'), '').partition(':')[0]} · {ways}"


_QUIET: Final = Field(
    "quiet_hours",
    "Quiet hours",
    Kind.ROWS,
    "Critical alerts still arrive. An end before the start is on the next day.",
    rows=(
        Field("start", "From", Kind.TIME),
        Field("end", "To", Kind.TIME),
        Field("days", "Days (none chosen: every day)", Kind.SEVERAL, choices=_fixed(_DAYS)),
        Field(
            "then",
            "Other alerts",
            Kind.CHOICE,
            choices=_fixed({"hold": "wait until the end", "divert": "go to other people"}),
            default="hold",
        ),
    ),
)

FORMS: Final[tuple[Form, ...]] = (
    Form(
        "duty",
        "override",
        "Today's duty",
        "change",
        "Substitutes and swaps. They end by themselves.",
        Right.DUTY,
        (
            Field("shift", "Shift", Kind.CHOICE, choices=_shifts),
            Field("remove", "Who cannot be on duty", Kind.CHOICE, choices=_names("staff")),
            Field("add", "Who is on duty instead", Kind.CHOICE, choices=_names("staff")),
            Field(
                "_swap",
                "Swap: shift that is taken over in return",
                Kind.CHOICE,
                "Leave empty for a substitute without a swap.",
                choices=_shifts,
            ),
            Field("start", "From", Kind.MOMENT),
            Field("end", "Until", Kind.MOMENT),
        ),
        _override_title,
        lambda e, _tree: f"{e.get('shift')}, {_when(e.get('start'))} to {_when(e.get('end'))}",
        start=lambda now: {"start": now.replace(second=0, microsecond=0), "end": day_end(now)},
        added_with=_swapped,
        is_shown=_is_ahead,
    ),
    Form(
        "quiet-hours",
        "staff",
        "Quiet hours",
        "person",
        "Hours in which a person receives critical alerts only.",
        Right.SETTINGS,
        (_QUIET,),
        lambda e, _tree: str(e.get("name", e.get("id", ""))),
        lambda e, _tree: "; ".join(map(_hours, e.get("quiet_hours", ()))) or "none",
        may_add=False,
        own=True,
    ),
    Form(
        "people",
        "staff",
        "People and channels",
        "person",
        "Addresses are secrets: they stay in files on the server, which are chosen here by name.",
        Right.SETTINGS,
        (
            Field("name", "Name", help="Others see it; prefer a duty to a person's name."),
            Field("role", "Role", Kind.CHOICE, choices=_fixed(_ROLES), default="staff"),
            Field(
                "notify",
                "Channels, in order of preference",
                Kind.ROWS,
                "If one fails, the next is tried.",
                rows=(
                    Field("url_file", "File", Kind.CHOICE, choices=_given(ADDRESS_FILES)),
                    Field("url_env", "or environment variable"),
                ),
            ),
            _QUIET,
        ),
        lambda e, _tree: str(e.get("name", e.get("id", ""))),
        _person_detail,
        id_from=("name",),
    ),
    Form(
        "rooms",
        "room",
        "Rooms",
        "room",
        "Every alert starts with the name of its room: use the names that people say.",
        Right.SENSORS,
        (
            Field("name", "Name"),
            Field("building", "Building", choices=_values("room", "building")),
            Field("floor", "Floor", choices=_values("room", "floor")),
            Field("kind", "Kind", choices=_values("room", "kind"), default="restroom"),
        ),
        lambda e, _tree: str(e.get("name", "")),
        lambda e, _tree: _place(e),
        id_from=("building", "floor", "name"),
    ),
    Form(
        "sensors",
        "sensor",
        "Sensors",
        "sensor",
        "To replace a device, add the name of the new one: its history continues.",
        Right.SENSORS,
        (
            Field(
                "id",
                "Name under which it sends",
                help="Topic, serial number or EUI. Reports and thresholds belong to this name.",
                choices=_given(UNREGISTERED),
            ),
            Field("room", "Room", Kind.CHOICE, choices=_rooms),
            Field(
                "aliases",
                "Replaced by (names of newer devices)",
                Kind.WORDS,
                "Separated by commas.",
                choices=_given(UNREGISTERED),
            ),
            Field("model", "Model"),
            Field("interval_s", "Seconds between readings", Kind.NUMBER, default="5"),
        ),
        lambda e, _tree: str(e.get("id", "")),
        _sensor_detail,
    ),
    Form(
        "bells",
        "bells",
        "Bell schedule",
        "schedule",
        "Lesson periods of weekdays, or of special dates.",
        Right.SETTINGS,
        (
            Field("id", "Name", help="Letters, digits, and . _ : - only."),
            Field("days", "Days", Kind.SEVERAL, choices=_fixed(_DAYS)),
            Field("first", "First day", Kind.DATE, "Leave empty for all year."),
            Field("last", "Last day", Kind.DATE),
            Field(
                "periods",
                "Periods",
                Kind.ROWS,
                rows=(
                    Field("name", "Name"),
                    Field("start", "From", Kind.TIME),
                    Field("end", "To", Kind.TIME),
                ),
            ),
        ),
        lambda e, _tree: str(e.get("id", "")),
        lambda e, _tree: ", ".join(
            filter(
                None,
                (
                    ", ".join(_DAYS.get(d, d)[:3] for d in e.get("days") or ()),
                    f"{len(e.get('periods', ()))} periods",
                    _span(e),
                ),
            )
        ),
    ),
    Form(
        "shifts",
        "shift",
        "Shifts",
        "shift",
        "Who is on duty where and when: in lesson periods, or by the clock.",
        Right.SETTINGS,
        (
            Field("id", "Name", help="Letters, digits, and . _ : - only."),
            Field(
                "receiver",
                "Receiver",
                Kind.CHOICE,
                choices=lambda tree: {**_names("receiver")(tree), **_values("staff", "role")(tree)},
            ),
            Field("people", "People", Kind.SEVERAL, choices=_names("staff")),
            Field("zones", "Zones (none chosen: all)", Kind.SEVERAL, choices=_names("zone")),
            Field("periods", "Lesson periods", Kind.SEVERAL, choices=_periods),
            Field("start", "or from", Kind.TIME),
            Field("end", "to", Kind.TIME),
            Field("days", "Days (none chosen: every day)", Kind.SEVERAL, choices=_fixed(_DAYS)),
        ),
        lambda e, _tree: str(e.get("id", "")),
        lambda e, tree: " · ".join(
            filter(
                None,
                (", ".join(_name(tree, "staff", p) for p in e.get("people", ())), _hours(e)),
            )
        ),
    ),
    Form(
        "silences",
        "silence",
        "Recurring silences",
        "silence",
        "Incidents are recorded, but nobody is notified meanwhile. They appear under Silences a day"
        " ahead.",
        Right.SETTINGS,
        (
            Field("reason", "Reason (no names)"),
            Field("room", "Room", Kind.CHOICE, choices=_rooms),
            Field("building", "or building", Kind.CHOICE, choices=_values("room", "building")),
            Field("floor", "Floor of the building", choices=_values("room", "floor")),
            Field(
                "kind",
                "What",
                Kind.CHOICE,
                "Leave empty for everything, including smoke.",
                choices=_fixed(KIND_WORDS),
            ),
            Field("start", "From", Kind.TIME),
            Field("end", "To", Kind.TIME, "At most 12 hours."),
            Field("days", "Days (none chosen: every day)", Kind.SEVERAL, choices=_fixed(_DAYS)),
            Field("first", "First day", Kind.DATE, "Leave empty for always."),
            Field("last", "Last day", Kind.DATE),
        ),
        lambda e, _tree: str(e.get("reason", "")),
        lambda e, tree: ", ".join(
            filter(
                None,
                (
                    _rooms(tree).get(str(e.get("room")), str(e.get("building", ""))),
                    _hours(e),
                    _span(e),
                ),
            )
        ),
    ),
    Form(
        "holidays",
        "holiday",
        "Holidays",
        "holiday",
        "Days without lessons.",
        Right.SETTINGS,
        (
            Field("name", "Name"),
            Field("first", "First day", Kind.DATE),
            Field("last", "Last day", Kind.DATE, "Leave empty for one day."),
        ),
        lambda e, _tree: str(e.get("name", "")),
        lambda e, _tree: _span(e),
    ),
)
"""All forms, in the order of the settings page."""
