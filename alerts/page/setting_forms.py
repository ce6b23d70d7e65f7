"""Define the settings pages' forms, and how each form lists its entries."""

from __future__ import annotations

import re
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from alerts.access.roles import ROLE_WORDS, Right, may
from alerts.page.config_file import Edit
from alerts.page.forms import Field, Form, Kind, find_day_end
from alerts.policy import FACILITIES, STAFF
from language.messages import LANGUAGES, Words, _, capitalize, mark
from language.plain_text import make_id
from storage.registry import format_floor, join_place

if TYPE_CHECKING:
    from collections.abc import Mapping

    Tree = Mapping[str, Any]

UNREGISTERED: Final = "_unregistered"
"""Key under which the unregistered sensors are added to the configuration, to choose from."""
LIMITED: Final = "_limited"
"""Key that is added if the requester sees only some schools, so can't choose "All schools"."""
ALL_SITES: Final = "*"
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
        "analyst": mark("Analyst: creates reports"),
        "helpdesk": mark("Help desk: looks after sensors, sees no incidents"),
        "admin": mark("Administrator"),
    }
)


def _list_names(tree: Tree, section: str) -> dict[str, str]:
    entries = tree.get(section, ())
    return {str(e["id"]): str(e.get("name") or e["id"]) for e in entries if e.get("id")}


def _list_sites(tree: Tree) -> dict[str, str]:
    section = "site" if isinstance(tree.get("site"), list) else "sites"
    found = _list_names(tree, section)
    return found if len(found) > 1 else {}


def _list_sites_of_people(tree: Tree) -> dict[str, str]:
    found = _list_sites(tree)
    return {ALL_SITES: _("All schools"), **found} if found and LIMITED not in tree else found


def _find_name(tree: Tree, section: str, key: object) -> str:
    return str(_list_names(tree, section).get(str(key), key or ""))


def _list_shifts(tree: Tree) -> dict[str, str]:
    (form,) = (form for form in FORMS if form.section == "shift")
    shifts = (s for s in tree.get("shift", ()) if s.get("id"))
    return {s["id"]: f"{form.title(s, tree)} · {form.describe(s, tree)}" for s in shifts}


def _name_shift(shift: Tree, tree: Tree) -> str:
    return ", ".join(_find_name(tree, "staff", p) for p in shift.get("people", ())) or _("Nobody")


def _write_id(name: str) -> str:
    return capitalize(re.sub("[-_]", " ", name))


def _list_places(tree: Tree, section: str) -> dict[str, str]:
    """Return where each room or zone is, by id; zones have no names."""
    sites = _list_sites(tree)
    return {
        place["id"]: join_place(
            str(place.get("name", "")),
            format_floor(str(place.get("floor", ""))),
            str(place.get("building", "")),
            sites.get(str(place.get("site", "")), ""),
        )
        for place in tree.get(section, ())
        if place.get("id")
    }


def _list_unregistered(tree: Tree) -> dict[str, str]:
    return {name: name for name in tree.get(UNREGISTERED, ())}


def _list_values(tree: Tree, section: str, key: str) -> dict[str, str]:
    found = (str(entry.get(key, "")) for entry in tree.get(section, ()))
    return {value: value for value in dict.fromkeys(found) if value}


def _list_receivers(tree: Tree) -> dict[str, str]:
    teams = [receiver["id"] for receiver in tree.get("receiver", ()) if receiver.get("id")]
    words = {STAFF: ROLE_WORDS[STAFF], FACILITIES: ROLE_WORDS[FACILITIES]}
    return {name: _write_id(words.get(name, name)) for name in (*teams, *words)}


def _list_periods(tree: Tree) -> dict[str, str]:
    names = (p.get("name", "") for b in tree.get("bells", ()) for p in b.get("periods", ()))
    found = {name: name for name in names if name}
    return {"*": _("All periods"), **found} if found else {}


def _describe_override(entry: Tree, tree: Tree) -> str:
    gone, new = (_find_name(tree, "staff", entry.get(key)) for key in ("remove", "add"))
    if gone and new:
        return _("%(new)s instead of %(gone)s", new=new, gone=gone)
    return _("%(new)s as well", new=new) if new else _("Without %(gone)s", gone=gone)


def _add_swap(typed: Tree, _tree: Tree) -> list[Edit]:
    other = typed.get("_swap")
    if not other:
        return []
    given = {key: typed[key] for key in ("start", "end") if key in typed}
    people = {"add": typed.get("remove", ""), "remove": typed.get("add", "")}
    swapped = {"shift": other, **given, **{key: name for key, name in people.items() if name}}
    return [Edit("override", None, swapped)]


def _add_zone(room: Tree, tree: Tree) -> list[Edit]:
    """Add a zone for a room's floor if it has none and the school uses zones."""
    zones = tree.get("zone", ())
    building, floor, site = (room.get(key, "") for key in ("building", "floor", "site"))
    here = [z for z in zones if not site or z.get("site", site) == site]
    near = [z for z in here if z.get("building") == building]
    if not (zones and building) or any(z.get("floor", "") in {"", floor} for z in near):
        return []
    key = make_id([site, building, floor], {str(z.get("id")) for z in zones}, "zone")
    place = {"building": building, "floor": floor, "site": site}
    return [Edit("zone", None, {"id": key, **{k: v for k, v in place.items() if v}})]


def _has_not_ended(entry: Tree, now: datetime) -> bool:
    end = entry.get("end")
    if not isinstance(end, datetime):
        return True
    return (end if end.tzinfo else end.replace(tzinfo=now.tzinfo)) > now


_staff = partial(_list_names, section="staff")
_rooms, _zones = (partial(_list_places, section=section) for section in ("room", "zone"))


def _list_responders(tree: Tree) -> dict[str, str]:
    members = [m for m in tree.get("staff", ()) if may(m.get("role", STAFF), Right.ANSWER)]
    return _list_names({"staff": members}, "staff")


_buildings, _floors, _room_kinds = (
    partial(_list_values, section="room", key=key) for key in ("building", "floor", "kind")
)
_NAME: Final = Field("name", mark("Name"))
_SITE: Final = Field("site", mark("School"), Kind.CHOICE, _list_sites, needs_choices=True)
_DAYS_OF_WEEK: Final = Field(
    "days", mark("Days (leave unchecked for every day)"), Kind.SEVERAL, lambda _tree: _DAYS
)
_HOURS: Final = Field("start", mark("From"), Kind.TIME), Field("end", mark("To"), Kind.TIME)
_NEXT_DAY: Final = Field(
    "_next_day",
    mark("Ends the next day?"),
    Kind.SEVERAL,
    lambda _tree: {"yes": _("Yes, it ends the next day")},
    asked_by="end",
)
_QUIET_HOURS: Final = Field(
    "quiet_hours",
    mark("Quiet hours"),
    Kind.ROWS,
    help=mark("Critical alerts still arrive. If the end is before the start, it's the next day."),
    rows=(*_HOURS, _DAYS_OF_WEEK),
)
NEW_PERSON: Final = (
    Field("name", mark("Name"), help=mark("Others see it. Prefer a job title to a person's name.")),
    Field("role", mark("Role"), Kind.CHOICE, lambda _tree: _ROLES, default="staff"),
    Field(
        "sites",
        mark("Schools"),
        Kind.SEVERAL,
        _list_sites_of_people,
        help=mark("They see these schools and get their alerts."),
        needs_choices=True,
    ),
)
"""Fields of a new person; the other fields are shown once the person exists."""
FORMS: Final = (
    Form(
        "duty",
        "override",
        mark("Substitutes and swaps"),
        mark("substitute or swap"),
        mark("Who covers a shift for a while. It ends automatically."),
        Right.DUTY,
        (
            Field("shift", mark("Shift"), Kind.CHOICE, _list_shifts),
            Field("remove", mark("Who's out"), Kind.CHOICE, _staff),
            Field("add", mark("Who covers"), Kind.CHOICE, _list_responders),
            Field(
                "_swap",
                mark("Swap: shift they take in return"),
                Kind.CHOICE,
                _list_shifts,
                help=mark("Leave empty for a substitute without a swap."),
            ),
            Field("start", mark("From"), Kind.MOMENT),
            Field("end", mark("Until"), Kind.MOMENT),
        ),
        title=_describe_override,
        start=lambda now, _tree: {
            "start": now.replace(second=0, microsecond=0),
            "end": find_day_end(now),
        },
        added_with=_add_swap,
        is_shown=_has_not_ended,
    ),
    Form(
        "quiet-hours",
        "staff",
        mark("Quiet hours"),
        mark("person"),
        mark("Hours when a person gets only critical alerts."),
        Right.SETTINGS,
        (_QUIET_HOURS,),
        may_add=False,
        own=True,
    ),
    Form(
        "people",
        "staff",
        mark("People and channels"),
        mark("person"),
        mark("Who gets alerts, and who signs in."),
        Right.SETTINGS,
        (
            *NEW_PERSON,
            Field(
                "email",
                mark("E-mail address"),
                help=mark(
                    "Only for signing in with a provider. Alerts go to the person's channels."
                ),
            ),
            Field(
                "language",
                mark("Language"),
                Kind.CHOICE,
                lambda _tree: LANGUAGES,
                help=mark(
                    "For notices and pages. Leave empty to use the school's. The person can"
                    " change it."
                ),
            ),
            _QUIET_HOURS,
        ),
        id_from=("name",),
        unique=("name",),
    ),
    Form(
        "rooms",
        "room",
        mark("Rooms"),
        mark("room"),
        mark("Every alert starts with the name of its room. Use the names people say."),
        Right.SENSORS,
        (
            _NAME,
            _SITE,
            Field("building", mark("Building"), choices=_buildings),
            Field("floor", mark("Floor"), choices=_floors),
            Field("kind", mark("Kind"), choices=_room_kinds, default="restroom"),
        ),
        added_with=_add_zone,
        id_from=("site", "building", "floor", "name"),
        unique=("name", "floor", "building", "site"),
    ),
    Form(
        "sensors",
        "sensor",
        mark("Sensors"),
        mark("sensor"),
        mark("To replace a device, add the new device's ID: the sensor keeps its history."),
        Right.SENSORS,
        (
            Field(
                "id",
                mark("ID the device sends"),
                choices=_list_unregistered,
                help=mark("Topic, serial number or EUI. Reports and thresholds belong to this ID."),
            ),
            Field("room", mark("Room"), Kind.CHOICE, _rooms),
            Field(
                "aliases",
                mark("Replaced by (IDs of newer devices)"),
                Kind.WORDS,
                _list_unregistered,
                help=mark("Separated by commas."),
            ),
            Field("model", mark("Model")),
            Field("interval_s", mark("Seconds between readings"), Kind.NUMBER, default="5"),
        ),
    ),
    Form(
        "bells",
        "bells",
        mark("Bell schedule"),
        mark("schedule"),
        mark("Class periods on weekdays or special dates."),
        Right.SETTINGS,
        (
            Field("id", mark("Name")),
            _SITE,
            Field("days", mark("Days"), Kind.SEVERAL, lambda _tree: _DAYS),
            Field("first", mark("First day"), Kind.DATE, help=mark("Leave empty for all year.")),
            Field("last", mark("Last day"), Kind.DATE),
            Field(
                "periods",
                mark("Periods"),
                Kind.ROWS,
                rows=(_NAME, *_HOURS),
                spare=4,
            ),
        ),
        title=lambda entry, _tree: _write_id(str(entry.get("id", ""))),
        id_from=("id",),
    ),
    Form(
        "shifts",
        "shift",
        mark("Shifts"),
        mark("shift"),
        mark("Who is on duty where and when, by class period or by the clock."),
        Right.SETTINGS,
        (
            _SITE,
            Field("receiver", mark("Team whose alerts they get"), Kind.CHOICE, _list_receivers),
            Field("people", mark("People"), Kind.SEVERAL, _list_responders),
            Field("zones", mark("Zones (leave unchecked for all)"), Kind.SEVERAL, _zones),
            Field("periods", mark("Class periods"), Kind.SEVERAL, _list_periods),
            Field("start", mark("From, if not by class period"), Kind.TIME),
            Field("end", mark("Until"), Kind.TIME),
            _NEXT_DAY,
            _DAYS_OF_WEEK,
        ),
        title=_name_shift,
        id_from=("people", "zones"),
        start=lambda _now, tree: {"receiver": tree.get("routing", {}).get("receiver", STAFF)},
    ),
    Form(
        "holidays",
        "holiday",
        mark("Holidays"),
        mark("holiday"),
        mark("Days without school."),
        Right.SETTINGS,
        (
            _NAME,
            _SITE,
            Field("first", mark("First day"), Kind.DATE),
            Field("last", mark("Last day"), Kind.DATE, help=mark("Leave empty for one day.")),
        ),
    ),
)
"""The forms of the settings page, in display order; each edits one configuration section."""
