"""Find faults between entries of a configuration: ids, references, secrets, mappings, sign-in."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from alerts.access.sign_in_rules import fold_address
from ingest.decoders import DECODERS, HTTP_DECODERS
from ingest.http.sources import SIGNED_DECODERS
from ingest.mapping.decoder import PREFIX
from ingest.mapping.schema import check_field
from ingest.mapping.schema import check_mapping as mapping_faults
from ingest.topics import TopicFilter
from language.messages import defer, mark
from plumewatch.config.duty_checks import find_duty_faults
from plumewatch.config.faults import ConfigFault, find_unknown, list_some
from plumewatch.config.sections.staff import SITE
from plumewatch.config.sites import ALL as ALL_SITES
from storage.audit import PROGRAM_IDS

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from plumewatch.config.draft import Draft
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.sections.ingest import SourceConfig

_DAYS: Final = (
    ("journal", "keep_days"),
    *(("timeseries", key) for key in ("raw_days", "minute_days", "quarter_hour_days")),
)
_NAMES: Final = frozenset(DECODERS)
_NOTIFIABLE_ROLES: Final = ("staff", "facilities", "admin")
GOOGLE: Final = "accounts.google.com"
ENTRA: Final = frozenset(
    {"login.microsoftonline.com", "login.microsoftonline.us", "login.partner.microsoftonline.cn"}
)
_ANY_TENANT: Final = frozenset({"common", "organizations", "consumers"})
_LOOPBACK: Final = frozenset({"127.0.0.1", "::1", "localhost"})
_BRACES: Final = re.compile(r"\{[^{}]*\}")
_PROVIDER_KEYS: Final = ("client_id", "hosted_domain", "groups_claim", "group")


def find_cross_faults(draft: Draft) -> Iterator[ConfigFault]:
    """Find faults between entries; Pydantic finds faults of a single key."""
    for faults_of in (
        _find_repeated_ids,
        _find_site_faults,
        _find_sensor_faults,
        _find_mapping_faults,
        _find_decoder_faults,
        _find_source_faults,
        _find_poll_faults,
        _find_retention_faults,
        find_sign_in_faults,
        find_duty_faults,
    ):
        yield from faults_of(draft)


def _find_repeated(
    draft: Draft, path: str, name: str, seen: dict[str, str], *, folded: str = ""
) -> Iterator[ConfigFault]:
    """Report a name that an earlier entry uses; `seen` maps each name (or `folded`) to its path."""
    first = seen.setdefault(folded or name, path) if name else path
    if first != path:
        head, _, place = first.partition(".")
        site = draft.config.sites[int(place.partition(".")[0])].id if head == "sites" else ""
        also = site if site and path.endswith("name") else draft.config.locate_entry(first)
        if also.startswith("[["):
            here = draft.config.locate_entry(path).rpartition(": ")[0]
            also = f"{also.rpartition(': ')[0]} (this is {here})"
        yield ConfigFault(path, repr(name), defer("is already used by %(other)s", other=also))


def _find_repeated_ids(draft: Draft) -> Iterator[ConfigFault]:
    config = draft.config
    names: dict[str, str] = {}
    for i, site in enumerate(config.sites):
        name = site.name or ""
        folded = " ".join(name.split()).casefold()
        yield from _find_repeated(draft, f"sites.{i}.name", name, names, folded=folded)
    for section in ("sites", "room", "sensor", "staff", "receiver", "zone", "bells", "shift"):
        seen: dict[str, str] = {}
        for i, entry in enumerate(getattr(config, section)):
            folded = (entry.id or "").casefold()  # as sign-in compares them
            yield from _find_repeated(draft, f"{section}.{i}.id", entry.id, seen, folded=folded)


def _find_site_faults(draft: Draft) -> Iterator[ConfigFault]:
    config = draft.config
    known, several = {site.id for site in config.sites}, len(config.sites) > 1
    names = {site.name: site.id for site in config.sites if site.name and site.id}
    what = "must be the id of a school: %(known)s"
    named = ("bells", "holiday", "term", "shift")
    for section in (*named, *(("room", "zone") if known else ())):
        for path, entry in draft.iterate_tables(section, getattr(config, section)):
            yield from find_unknown(f"{path}.site", [entry.site or None], known, what, names=names)
            if several and not entry.site and section in ("room", "zone"):
                yield ConfigFault(f"{path}.site", "missing", what % {"known": list_some(known)})
    for path, person in draft.iterate_tables("staff", config.staff):
        if (person.id or "").casefold() in PROGRAM_IDS:
            yield ConfigFault(
                f"{path}.id", repr(person.id), "must be another id; Plumewatch uses this one"
            )
        own = {*person.sites} - {ALL_SITES}
        yield from find_unknown(f"{path}.sites", own, known, what, names=names)
        if several and not person.sites:
            allowed = f'must be ids of schools, or "{ALL_SITES}" for all: {list_some(known)}'
            yield ConfigFault(f"{path}.sites", "missing", allowed)
    if several and draft.is_valid("room", "staff", "sign_in"):
        yield from _find_unwatched_sites(draft)


def _find_unwatched_sites(draft: Draft) -> Iterator[ConfigFault]:
    config = draft.config
    groups = [entry for entry in config.sign_in.group if entry.role in _NOTIFIABLE_ROLES]
    watched = {site for p in config.staff if p.role in _NOTIFIABLE_ROLES for site in p.sites}
    watched |= {site for entry in groups for site in entry.sites}
    if any(SITE in entry.group for entry in groups):
        return
    used = {room.site for room in config.room}
    if ALL_SITES not in watched and config.staff:
        for i, site in enumerate(config.sites):
            if site.id in used - watched:
                allowed = f"must be in sites of a [[staff]] who is {' or '.join(_NOTIFIABLE_ROLES)}"
                yield ConfigFault(f"sites.{i}.id", repr(site.id), allowed)


def _list_mapping_names(draft: Draft) -> frozenset[str]:
    return frozenset(PREFIX + mapping.name for mapping in draft.config.mapping if mapping.name)


def _find_sensor_faults(draft: Draft) -> Iterator[ConfigFault]:
    config = draft.config
    rooms = {room.id for room in config.room if room.id}
    decoders = _NAMES | _list_mapping_names(draft)
    names = {sensor.id for sensor in config.sensor}
    for path, sensor in draft.iterate_tables("sensor", config.sensor):
        what = mark("must be the id of a [[room]]: %(known)s")
        yield from find_unknown(f"{path}.room", [sensor.room or None], rooms, what)
        what = "must be empty or one of: %(known)s"
        yield from _find_unknown_decoder(f"{path}.decoder", sensor.decoder, decoders, what)
        for k, alias in enumerate(sensor.aliases):
            if alias in names:
                allowed = defer("must not already be the id or alias of a sensor")
                yield ConfigFault(f"{path}.aliases.{k}", repr(alias), allowed)
            names.add(alias)


def _find_unknown_decoder(
    path: str, name: str, known: Collection[str], what: str = "must be one of: %(known)s"
) -> Iterator[ConfigFault]:
    return find_unknown(path, [name or None], known, what, len(known))


def _find_mapping_faults(draft: Draft) -> Iterator[ConfigFault]:
    names: dict[str, str] = {}
    catch_all: dict[str, str] = {}
    for path, mapping in draft.iterate_tables("mapping", draft.config.mapping):
        if not draft.is_valid(path):
            fields = draft.iterate_valid(f"{path}.field", mapping.field)
            found = [fault for place, field in fields for fault in check_field(place, field)]
            yield from (
                ConfigFault(at, value, f"must be {allowed}") for at, value, allowed in found
            )
            continue
        for at, value, allowed in mapping_faults(mapping):
            yield ConfigFault(f"{path}.{at}", value, f"must be {allowed}")
        yield from _find_repeated(draft, f"{path}.name", mapping.name, names)
        pattern = TopicFilter(mapping.topic).pattern
        if pattern in catch_all:
            first = draft.config.locate_entry(catch_all[pattern])
            allowed = (
                f"is never reached: {first} has no `when` and reads every message of these topics;"
                " give it conditions, or move it after this one"
            )
            yield ConfigFault(f"{path}.topic", repr(mapping.topic), allowed)
        elif not mapping.when:
            catch_all[pattern] = path


def _find_decoder_faults(draft: Draft) -> Iterator[ConfigFault]:
    config, every = draft.config, _NAMES | _list_mapping_names(draft)
    named = [(f"ingest.decoders.{i}", n, _NAMES) for i, n in enumerate(config.ingest.decoders)]
    named += [(f"route.{i}.decoder", r.decoder, every) for i, r in enumerate(config.route)]
    for path, name, known in named:
        yield from _find_unknown_decoder(path, name, known)


def _find_source_faults(draft: Draft) -> Iterator[ConfigFault]:
    config, decoders = draft.config, _list_http_decoders(draft)
    sensors = {sensor.id for sensor in config.sensor}
    names: dict[str, str] = {}
    for path, source in draft.iterate_tables("ingest.source", config.ingest.source):
        yield from _find_repeated(draft, f"{path}.name", source.name, names)
        yield from _find_unknown_decoder(f"{path}.decoder", source.decoder, decoders)
        yield from _find_source_secret_faults(path, source)
        for k, sensor in enumerate(source.sensors):
            if sensor not in sensors:
                allowed = "must be the id of a [[sensor]]"
                yield ConfigFault(f"{path}.sensors.{k}", repr(sensor), allowed)
    http = config.ingest.http
    if "port" in http.model_fields_set and http.port == config.web.port:
        allowed = "must not be the port of the staff page"
        yield ConfigFault("ingest.http.port", repr(http.port), allowed)


def _find_poll_faults(draft: Draft) -> Iterator[ConfigFault]:
    config, decoders = draft.config, _list_http_decoders(draft)
    sensors = {sensor.id: sensor.decoder for sensor in config.sensor}
    for path, poll in draft.iterate_tables("ingest.poll", config.ingest.poll):
        if poll.sensor not in sensors:
            yield ConfigFault(f"{path}.sensor", repr(poll.sensor), "must be the id of a [[sensor]]")
        elif sensors[poll.sensor] not in decoders:
            allowed = f"its [[sensor]] needs a decoder, one of {', '.join(sorted(decoders))}"
            yield ConfigFault(f"{path}.sensor", repr(poll.sensor), allowed)
        if poll.user and not poll.password_file:
            yield ConfigFault(f"{path}.user", repr(poll.user), "also needs a password_file")


def _list_http_decoders(draft: Draft) -> frozenset[str]:
    """List the decoders for HTTP: those that need only one message."""
    mappings = draft.config.mapping
    return HTTP_DECODERS | {PREFIX + m.name for m in mappings if m.name and m.join_s is None}


def _find_source_secret_faults(path: str, source: SourceConfig) -> Iterator[ConfigFault]:
    signs = bool(source.signature_file)
    if signs and source.decoder not in SIGNED_DECODERS:
        allowed = f"must be left out, except for {', '.join(sorted(SIGNED_DECODERS))}"
        yield ConfigFault(f"{path}.signature_file", "given", allowed)
    elif not signs and not source.token_file:
        yield ConfigFault(f"{path}.token_file", "missing", "must name the file with the token")


def _find_retention_faults(draft: Draft) -> Iterator[ConfigFault]:
    valid = [
        (f"{section}.{key}", getattr(getattr(draft.config, section), key))
        for section, key in _DAYS
        if draft.is_valid(f"{section}.{key}")
    ]
    for (shorter, least), (longer, most) in pairwise(valid):
        if least > most:
            yield ConfigFault(longer, f"{most:g}", f"at least {shorter}, {least:g}")


def find_sign_in_faults(draft: Draft) -> Iterator[ConfigFault]:
    """Find contradictions in `[sign_in]`, and e-mail addresses used by two people."""
    own, staff = draft.config.sign_in, draft.config.staff
    seen: dict[str, str] = {}
    for path, person in draft.iterate_tables("staff", staff):
        email = fold_address(person.email or "")
        if email and seen.setdefault(email, path) != path:
            other = draft.config.locate_entry(f"{seen[email]}.email")
            allowed = defer("is already used by %(other)s", other=other)
            yield ConfigFault(f"{path}.email", repr(person.email), allowed)
    sites = {site.id for site in draft.config.sites}
    names = {site.name: site.id for site in draft.config.sites if site.name and site.id}
    for path, entry in draft.iterate_tables("sign_in.group", own.group):
        named, what = {*entry.sites} - {ALL_SITES}, "must be the id of a school: %(known)s"
        yield from find_unknown(f"{path}.sites", named, sites, what, names=names)
        for other in _BRACES.findall((entry.group or "").replace(SITE, "")):
            rule = f"can't contain {other}: only {SITE} is replaced, by the id of each school"
            yield ConfigFault(f"{path}.group", repr(entry.group), rule)
        if entry.sites and SITE in (entry.group or ""):
            rule = f"must be left out: {SITE} in the group already names the school"
            yield ConfigFault(f"{path}.sites", list_some(entry.sites), rule)
    if not own.issuer and draft.is_valid("sign_in.issuer"):
        for key in _PROVIDER_KEYS:
            if getattr(own, key):
                yield ConfigFault(f"sign_in.{key}", "no issuer", "also needs sign_in.issuer")
    if own.issuer and draft.is_valid("sign_in", "staff", "web"):
        yield from _find_provider_faults(draft.config)


def _find_provider_faults(config: PlumewatchConfig) -> Iterator[ConfigFault]:
    own, parts = config.sign_in, urlsplit(config.sign_in.issuer)
    is_google = parts.hostname == GOOGLE
    if not own.client_id:
        yield ConfigFault("sign_in.client_id", "missing", "must be the id that the provider gave")
    admins = {person.id for person in config.staff if person.role == "admin"}
    if admins.isdisjoint(config.find_password_staff() or ()):
        allowed = "an administrator without email is needed for when the provider cannot be reached"
        yield ConfigFault("[[staff]] email", list_some(admins) or "nobody", allowed)
    if own.group and not own.groups_claim and not is_google:
        allowed = "must be the claim with the groups: [[sign_in.group]] needs it"
        yield ConfigFault("sign_in.groups_claim", "missing", allowed)
    if is_google and not own.hosted_domain:
        allowed = (
            "must be the domain of your Google Workspace; otherwise any"
            " Google account would be trusted"
        )
        yield ConfigFault("sign_in.hosted_domain", "missing", allowed)
    if is_google and own.groups_claim:
        allowed = "must be left out: Plumewatch asks Google for the groups"
        yield ConfigFault("sign_in.groups_claim", repr(own.groups_claim), allowed)
    if parts.hostname in ENTRA and not _ANY_TENANT.isdisjoint(parts.path.split("/")):
        allowed = "must contain your tenant's id: https://login.microsoftonline.com/TENANT/v2.0"
        yield ConfigFault("sign_in.issuer", repr(own.issuer), allowed)
    public = urlsplit(config.web.url)
    if public.scheme != "https" and public.hostname not in _LOOPBACK:
        allowed = 'must be "https://...": the provider sends people back there'
        yield ConfigFault("web.public_url", repr(config.web.public_url), allowed)
