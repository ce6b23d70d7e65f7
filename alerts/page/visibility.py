"""Limit a request to the rooms, sensors and staff of its schools, or of one chosen school."""

from __future__ import annotations

import json
from contextvars import ContextVar
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from alerts.page.rendering import Times
from alerts.page.settings import PipelineStatus
from language.messages import _

if TYPE_CHECKING:
    from starlette.requests import Request

    from alerts.page.settings import StaffPageSettings
    from alerts.policy import AlertPolicy, StaffMember
    from storage.registry import Registry, Site

_SITES: ContextVar[frozenset[str] | None] = ContextVar("sites of the request", default=None)
"""Names of the sites that the requester can see; None means all."""
_SCHOOL: ContextVar[str] = ContextVar("school that the page shows", default="")
"""Name of the chosen school; empty means all that the requester can see."""
MAX_ROOMS: Final = 300
"""Maximum rooms on a page with several schools; with more, a page shows one school."""


class Visibility:
    """Limits pages to the sites that the requester can see."""

    def __init__(self, settings: StaffPageSettings) -> None:
        self.settings = settings
        self.access = settings.access
        self.engine = settings.engine
        self.times = Times(settings.clock, settings.engine.policy.zone)
        self._registry = settings.engine.registry
        self._parts: dict[frozenset[str], Registry] = {}

    @property
    def policy(self) -> AlertPolicy:
        """The alert policy, which can change while pages are open."""
        return self.engine.policy

    @property
    def is_for_this_computer(self) -> bool:
        """Return whether links to the page work only on this computer, and not on phones."""
        return self.policy.page_url.startswith(("http://127.", "http://localhost", "http://0."))

    @property
    def sites(self) -> frozenset[str] | None:
        """Return the names of the sites that the requester can see; None means all."""
        return _SITES.get()

    @property
    def registry(self) -> Registry:
        """Return the visible rooms and sensors, limited to the chosen school if there is one."""
        return self._part(self._shown)

    @property
    def permitted(self) -> Registry:
        """Return all rooms and sensors that the requester can see, not only the chosen school's."""
        return self._part(_SITES.get())

    @property
    def _shown(self) -> frozenset[str] | None:
        school = _SCHOOL.get()
        return frozenset({school}) if school else _SITES.get()

    def _part(self, sites: frozenset[str] | None) -> Registry:
        if sites is None:
            return self._registry
        if sites not in self._parts:
            self._parts[sites] = self._registry.limit_to(sites)
        return self._parts[sites]

    @property
    def room_ids(self) -> str | None:
        """Return the room ids of `registry` as JSON; None means all."""
        part = self.registry
        return None if self._shown is None else json.dumps([*part.rooms, *part.former])

    @property
    def sensor_ids(self) -> str | None:
        """Return the sensor ids of `registry` as JSON; None means all."""
        return None if self._shown is None else json.dumps(list(self.registry.sensors))

    def choose_school(self, request: Request, *, of_any_size: bool = False) -> Site | None:
        """Show only the requested school; return it, or None if all schools are shown.

        If there are too many rooms for one page, the first school is shown by default, except with
        `of_any_size`.
        """
        part = self.permitted
        if len(part.sites) + len(part.closed) < 2:
            return None
        schools, chosen = part.list_sites(), self.find_school(request.query_params.get("site"))
        is_large = len(part.rooms) > MAX_ROOMS and not of_any_size
        if chosen is None and is_large:
            chosen = schools[0]
        if chosen is not None:
            self.show_only(chosen)
        if chosen is not None and chosen.closed:
            schools.append(chosen)
        request.state.schools = (schools, chosen, is_large)
        return chosen

    def find_school(self, site: str | None) -> Site | None:
        """Return the visible school with this id, even a closed one, or None."""
        return next((s for s in self.permitted.list_sites(with_closed=True) if s.id == site), None)

    def show_only(self, school: Site) -> None:
        """Show only this school for the rest of the request."""
        _SCHOOL.set(school.name)
        self.times.use(school.zone)

    def find_site_names(self, ids: frozenset[str] | None) -> frozenset[str] | None:
        """Convert site ids, as tokens store them, to names; None stays None."""
        known = {site.id: site.name for site in self._registry.list_sites(with_closed=True)}
        return None if ids is None else frozenset(name for key, name in known.items() if key in ids)

    def explain_closed(self, person: str, sites: frozenset[str] | None) -> str:
        """Explain why a token no longer has access to any site; empty if it still has access."""
        own, registry = self.policy.find_sites(person), self._registry
        given = own if sites is None else sites
        if given is None or given & registry.sites.keys() & (given if own is None else own):
            return ""
        if left := sorted(given & registry.sites.keys()):
            return f"its owner no longer has access to {', '.join(left)}"
        gone = (site for site in registry.closed.values() if site.name in given)
        closed = [f"{site.name} closed on {site.closed:%b %-d, %Y}" for site in gone]
        has_left = sites is None and not given
        why = "its owner has no school" if has_left else "its schools are no longer registered"
        return "; ".join(closed) or why

    def find_site_ids(self, names: frozenset[str] | None) -> frozenset[str] | None:
        """Convert site names to ids, as tokens store them; None stays None."""
        known = self._registry.sites.values()
        return None if names is None else frozenset(site.id for site in known if site.name in names)

    @property
    def staff(self) -> tuple[StaffMember, ...]:
        """Return the staff of the sites that the requester can see."""
        sites = _SITES.get()
        if sites is None:
            return self.policy.staff
        own = ((member, self.policy.find_sites(member.id)) for member in self.policy.staff)
        return tuple(member for member, their in own if their is None or their & sites)

    def warn_unreachable(self) -> str:
        """Return a warning if no visible staff member has an address, or an empty string."""
        if any(member.targets for member in self.staff):
            return ""
        return _(
            "No staff member has a notification address."
            " Alerts appear here, but nobody is notified."
        )

    @property
    def own_staff(self) -> tuple[StaffMember, ...]:
        """Return the staff that the requester can manage: people who have no other sites."""
        sites = _SITES.get()
        if sites is None:
            return self.policy.staff
        own = ((member, self.policy.find_sites(member.id)) for member in self.policy.staff)
        return tuple(member for member, their in own if their and their <= sites)

    def find_own_member(self, person: str) -> StaffMember | None:
        """Return one of `own_staff` by id, or None."""
        return next((member for member in self.own_staff if member.id == person), None)

    def limit_to_sites_of(self, person: str | None, limit: frozenset[str] | None = None) -> None:
        """Limit the request to a person's sites (all if None) that are also in `limit`."""
        sites = None if person is None else self.policy.find_sites(person)
        if limit is not None:
            sites = limit if sites is None else sites & limit
        _SITES.set(sites)
        _SCHOOL.set("")
        only = next(iter(sites)) if sites and len(sites) == 1 else ""
        self.times.use(self._registry.sites[only].zone if only in self._registry.sites else "")

    def can_see_room(self, room: str) -> bool:
        """Return whether the requester can see a room; with access to all sites, any room."""
        return _SITES.get() is None or room in self.registry.rooms

    def describe_sites(self, person: str) -> str:
        """Return the names of a person's schools for display; empty if only one school exists."""
        sites, known = self.policy.find_sites(person), self._registry
        if len(known.sites) + len(known.closed) < 2:
            return ""
        return _("All schools") if sites is None else ", ".join(sorted(sites)) or _("No school")

    def list_down_sensors(self) -> list[str]:
        """Return the ids of the sensors that are not reporting."""
        return [
            name for name, life in self.read_pipeline().sensors.items() if life.state != "alive"
        ]

    def read_pipeline(self) -> PipelineStatus:
        """Return the pipeline status; if not all sites are visible, only their sensors' states."""
        found, now = self.settings.pipeline.get_status(), self.settings.clock()
        sensors = {name: status.update_to(now) for name, status in found.sensors.items()}
        if _SITES.get() is None:
            return replace(found, sensors=sensors)
        known = self.permitted.sensors
        return PipelineStatus(sensors={name: sensors[name] for name in sensors if name in known})
