"""The forms of the settings pages: one table each, over one section of the configuration."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, Any, Final

from alerts.access.roles import Right
from alerts.notify.notice import KIND_WORDS
from alerts.page.config_file import Edit
from alerts.page.forms import Field, Form, Kind, day_end, new_id
from language.messages import LANGUAGES, Words, _, mark, ngettext
from storage.registry import floor_name, names_of_place

if TYPE_CHECKING:
    from collections.abc import Mapping

NEW_ADDRESS: Final = "_address"
ADDRESS_FILES: Final = "_address_files"
UNREGISTERED: Final = "_unregistered"
ALL_SITES: Final = "*"
"""Keys that the page adds to the configuration, for choices that are not in it."""
_DAYS: Final = Words(
    {
        "mon": mark("Monday"),
        "tue": mark("Tuesday"),
        "wed": mark("Wednesday"),
        "thu": mark("Thursday"),
        "fri": mark("Friday"),
        "sat": mark("Saturday"),
        "sun": mark("Sunday"),
    }
)
_ROLES: Final = Words(
    {
        "staff": mark("Staff: responds to alerts"),
        "facilities": mark("Facilities: looks after sensors"),
        "analyst": mark("Analyst: makes reports"),
        "helpdesk": mark("Helpdesk: looks after sensors, sees no incidents"),
        "admin": mark("Administrator"),
    }
)


def _names(section: str) -> Any:
    def choices(tree: Mapping[str, Any]) -> dict[str, str]:
        entries = tree.get(section, ())
        return {str(e["id"]): str(e.get("name") or e["id"]) for e in entries if e.get("id")}

    return choices


def _sites(tree: Mapping[str, Any]) -> dict[str, str]:
    """Return the schools by id; none where there is one."""
    found = _names("site")(tree) if isinstance(tree.get("site"), list) else {}
    return found if len(found) > 1 else {}


def _sites_of_people(tree: Mapping[str, Any]) -> dict[str, str]:
    found = _sites(tree)
    return {ALL_SITES: _("All schools"), **found} if found else {}


def _name(tree: Mapping[str, Any], section: str, key: object) -> str:
    return str(_names(section)(tree).get(str(key), key or ""))


def _shifts(tree: Mapping[str, Any]) -> dict[str, str]:
    return {s["id"]: _shift_words(s, tree) for s in tree.get("shift", ()) if s.get("id")}


def _shift_words(shift: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    people = ", ".join(_name(tree, "staff", p) for p in shift.get("people", ()))
    return f"{shift.get('id', '')}: {people}" if people else str(shift.get("id", ""))


def _rooms(tree: Mapping[str, Any]) -> dict[str, str]:
    sites = _sites(tree)
    return {
        r["id"]: names_of_place(
            str(r.get("name", "")), _place(r), sites.get(str(r.get("site", "")), "")
        )
        for r in tree.get("room", ())
        if r.get("id")
    }


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
    return {"*": _("All periods"), **{name: name for name in dict.fromkeys(names) if name}}


def _span(entry: Mapping[str, Any]) -> str:
    first, last = entry.get("first"), entry.get("last")
    if first and last:
        return _("%(first)s to %(last)s", first=first, last=last)
    return str(first or last or "")


def _hours(entry: Mapping[str, Any]) -> str:
    days = ", ".join(_DAYS.get(d, str(d))[:3] for d in entry.get("days") or ()) or _("every day")
    if entry.get("start") is None:
        return ", ".join(map(str, entry.get("periods", ()))).replace("*", _("all periods"))
    span = _("%(first)s to %(last)s", first=entry.get("start"), last=entry.get("end"))
    return f"{span}, {days}"


def _when(moment: object) -> str:
    return f"{moment:%a, %b %-d, %H:%M}" if isinstance(moment, datetime) else str(moment)


def _override_title(entry: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    gone, new = (_name(tree, "staff", entry.get(key)) for key in ("remove", "add"))
    if gone and new:
        return _("%(new)s instead of %(gone)s", new=new, gone=gone)
    return _("%(new)s as well", new=new) if new else _("Without %(gone)s", gone=gone)


def _swapped(typed: Mapping[str, Any], _tree: Mapping[str, Any]) -> list[Edit]:
    other = typed.get("_swap")
    if not other:
        return []
    given = {key: typed[key] for key in ("start", "end") if key in typed}
    people = {"add": typed.get("remove", ""), "remove": typed.get("add", "")}
    swapped = {"shift": other, **given, **{key: name for key, name in people.items() if name}}
    return [Edit("override", None, swapped)]


def _own_zone(room: Mapping[str, Any], tree: Mapping[str, Any]) -> list[Edit]:
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


def _is_ahead(entry: Mapping[str, Any], now: datetime) -> bool:
    end = entry.get("end")
    if not isinstance(end, datetime):
        return True
    return (end if end.tzinfo else end.replace(tzinfo=now.tzinfo)) > now


def _sensor_detail(entry: Mapping[str, Any], tree: Mapping[str, Any]) -> str:
    aliases = ", ".join(map(str, entry.get("aliases", ())))
    room = _rooms(tree).get(str(entry.get("room")), str(entry.get("room", "")))
    return _("%(room)s · also %(names)s", room=room, names=aliases) if aliases else room


def _person_detail(entry: Mapping[str, Any], _tree: Mapping[str, Any]) -> str:
    count = len(entry.get("notify", ()))
    ways = ngettext("%(n)d channel", "%(n)d channels", count) if count else _("no channel")
    return f"{_ROLES.get(entry.get('role', 'staff'), '').partition(':')[0]} · {ways}"


_SITE: Final = Field("site", mark("School"), Kind.CHOICE, choices=_sites, needs_choices=True)
_QUIET: Final = Field(
    "quiet_hours",
    mark("Quiet hours"),
    Kind.ROWS,
    mark("Critical alerts still arrive. An end before the start is on the next day."),
    rows=(
        Field("start", mark("From"), Kind.TIME),
        Field("end", mark("To"), Kind.TIME),
        Field("days", mark("Days (none chosen: every day)"), Kind.SEVERAL, choices=_fixed(_DAYS)),
        Field(
            "then",
            mark("Other alerts"),
            Kind.CHOICE,
            choices=_fixed(
                Words({"hold": mark("wait until the end"), "divert": mark("go to other people")})
            ),
            default="hold",
        ),
    ),
)

FORMS: Final[tuple[Form, ...]] = (
    Form(
        "duty",
        "override",
        mark("Today's duty"),
        mark("change"),
        mark("Substitutes and swaps. They end by themselves."),
        Right.DUTY,
        (
            Field("shift", mark("Shift"), Kind.CHOICE, choices=_shifts),
            Field("remove", mark("Who cannot be on duty"), Kind.CHOICE, choices=_names("staff")),
            Field("add", mark("Who is on duty instead"), Kind.CHOICE, choices=_names("staff")),
            Field(
                "_swap",
                mark("Swap: shift that is taken over in return"),
                Kind.CHOICE,
                mark("Leave empty for a substitute without a swap."),
                choices=_shifts,
            ),
            Field("start", mark("From"), Kind.MOMENT),
            Field("end", mark("Until"), Kind.MOMENT),
        ),
        _override_title,
        lambda e, _tree: (
            f"{e.get('shift')}, "
            + _("%(first)s to %(last)s", first=_when(e.get("start")), last=_when(e.get("end")))
        ),
        start=lambda now: {"start": now.replace(second=0, microsecond=0), "end": day_end(now)},
        added_with=_swapped,
        is_shown=_is_ahead,
    ),
    Form(
        "quiet-hours",
        "staff",
        mark("Quiet hours"),
        mark("person"),
        mark("Hours in which a person receives critical alerts only."),
        Right.SETTINGS,
        (_QUIET,),
        lambda e, _tree: str(e.get("name", e.get("id", ""))),
        lambda e, _tree: "; ".join(map(_hours, e.get("quiet_hours", ()))) or _("none"),
        may_add=False,
        own=True,
    ),
    Form(
        "people",
        "staff",
        mark("People and channels"),
        mark("person"),
        mark(
            "An address of a channel is a secret: it is stored in a file of its own on the server"
            " and not shown again."
        ),
        Right.SETTINGS,
        (
            Field(
                "name", mark("Name"), help=mark("Others see it; prefer a duty to a person's name.")
            ),
            Field("role", mark("Role"), Kind.CHOICE, choices=_fixed(_ROLES), default="staff"),
            Field(
                "sites",
                mark("Schools"),
                Kind.SEVERAL,
                mark("Of which they see and are notified of incidents."),
                _sites_of_people,
                needs_choices=True,
            ),
            Field(
                "language",
                mark("Language"),
                Kind.CHOICE,
                mark("Of notices and pages; the school's if left empty. They can choose theirs."),
                _fixed(LANGUAGES),
            ),
            Field(
                "notify",
                mark("Channels, in order of preference"),
                Kind.ROWS,
                mark(
                    "If one fails, the next is tried. A new address is such as"
                    " ntfys://ntfy.sh/a-long-secret-name or mailto://...; a stored one is chosen by"
                    " its file."
                ),
                rows=(
                    Field(NEW_ADDRESS, mark("New address"), Kind.ADDRESS),
                    Field(
                        "url_file", mark("or stored in"), Kind.CHOICE, choices=_given(ADDRESS_FILES)
                    ),
                    Field("url_env", mark("or environment variable")),
                ),
            ),
            _QUIET,
        ),
        lambda e, _tree: str(e.get("name", e.get("id", ""))),
        _person_detail,
        id_from=("name",),
        unique=("name",),
    ),
    Form(
        "rooms",
        "room",
        mark("Rooms"),
        mark("room"),
        mark("Every alert starts with the name of its room: use the names that people say."),
        Right.SENSORS,
        (
            Field("name", mark("Name")),
            _SITE,
            Field("building", mark("Building"), choices=_values("room", "building")),
            Field("floor", mark("Floor"), choices=_values("room", "floor")),
            Field("kind", mark("Kind"), choices=_values("room", "kind"), default="restroom"),
        ),
        lambda e, _tree: str(e.get("name", "")),
        lambda e, _tree: _place(e),
        id_from=("site", "building", "floor", "name"),
        added_with=_own_zone,
        unique=("name", "floor", "building", "site"),
    ),
    Form(
        "sensors",
        "sensor",
        mark("Sensors"),
        mark("sensor"),
        mark("To replace a device, add the name of the new one: its history continues."),
        Right.SENSORS,
        (
            Field(
                "id",
                mark("Name under which it sends"),
                help=mark(
                    "Topic, serial number or EUI. Reports and thresholds belong to this name."
                ),
                choices=_given(UNREGISTERED),
            ),
            Field("room", mark("Room"), Kind.CHOICE, choices=_rooms),
            Field(
                "aliases",
                mark("Replaced by (names of newer devices)"),
                Kind.WORDS,
                mark("Separated by commas."),
                choices=_given(UNREGISTERED),
            ),
            Field("model", mark("Model")),
            Field("interval_s", mark("Seconds between readings"), Kind.NUMBER, default="5"),
        ),
        lambda e, _tree: str(e.get("id", "")),
        _sensor_detail,
    ),
    Form(
        "bells",
        "bells",
        mark("Bell schedule"),
        mark("schedule"),
        mark("Lesson periods of weekdays, or of special dates."),
        Right.SETTINGS,
        (
            Field("id", mark("Name"), help=mark("Letters, digits, and . _ : - only.")),
            _SITE,
            Field("days", mark("Days"), Kind.SEVERAL, choices=_fixed(_DAYS)),
            Field("first", mark("First day"), Kind.DATE, mark("Leave empty for all year.")),
            Field("last", mark("Last day"), Kind.DATE),
            Field(
                "periods",
                mark("Periods"),
                Kind.ROWS,
                rows=(
                    Field("name", mark("Name")),
                    Field("start", mark("From"), Kind.TIME),
                    Field("end", mark("To"), Kind.TIME),
                ),
                spare=4,
            ),
        ),
        lambda e, _tree: str(e.get("id", "")),
        lambda e, _tree: ", ".join(
            filter(
                None,
                (
                    ", ".join(_DAYS.get(d, d)[:3] for d in e.get("days") or ()),
                    ngettext("%(n)d period", "%(n)d periods", len(e.get("periods", ()))),
                    _span(e),
                ),
            )
        ),
    ),
    Form(
        "shifts",
        "shift",
        mark("Shifts"),
        mark("shift"),
        mark("Who is on duty where and when: in lesson periods, or by the clock."),
        Right.SETTINGS,
        (
            Field("id", mark("Name"), help=mark("Letters, digits, and . _ : - only.")),
            _SITE,
            Field(
                "receiver",
                mark("Receiver"),
                Kind.CHOICE,
                choices=lambda tree: {**_names("receiver")(tree), **_values("staff", "role")(tree)},
            ),
            Field("people", mark("People"), Kind.SEVERAL, choices=_names("staff")),
            Field("zones", mark("Zones (none chosen: all)"), Kind.SEVERAL, choices=_names("zone")),
            Field("periods", mark("Lesson periods"), Kind.SEVERAL, choices=_periods),
            Field("start", mark("or from"), Kind.TIME),
            Field("end", mark("to"), Kind.TIME),
            Field(
                "days", mark("Days (none chosen: every day)"), Kind.SEVERAL, choices=_fixed(_DAYS)
            ),
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
        mark("Recurring silences"),
        mark("silence"),
        mark(
            "Incidents are recorded, but nobody is notified meanwhile. They appear under Silences a"
            " day ahead."
        ),
        Right.SETTINGS,
        (
            Field("reason", mark("Reason (no names)"), is_free=True),
            Field("room", mark("Room"), Kind.CHOICE, choices=_rooms),
            _SITE,
            Field(
                "building", mark("or building"), Kind.CHOICE, choices=_values("room", "building")
            ),
            Field("floor", mark("Floor of the building"), choices=_values("room", "floor")),
            Field(
                "kind",
                mark("What"),
                Kind.CHOICE,
                mark("Leave empty for everything, including smoke."),
                choices=_fixed(KIND_WORDS),
            ),
            Field("start", mark("From"), Kind.TIME),
            Field("end", mark("To"), Kind.TIME, mark("At most 12 hours.")),
            Field(
                "days", mark("Days (none chosen: every day)"), Kind.SEVERAL, choices=_fixed(_DAYS)
            ),
            Field("first", mark("First day"), Kind.DATE, mark("Leave empty for always.")),
            Field("last", mark("Last day"), Kind.DATE),
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
        mark("Holidays"),
        mark("holiday"),
        mark("Days without lessons."),
        Right.SETTINGS,
        (
            Field("name", mark("Name")),
            _SITE,
            Field("first", mark("First day"), Kind.DATE),
            Field("last", mark("Last day"), Kind.DATE, mark("Leave empty for one day.")),
        ),
        lambda e, _tree: str(e.get("name", "")),
        lambda e, _tree: _span(e),
    ),
)
"""All forms, in the order of the settings page."""
