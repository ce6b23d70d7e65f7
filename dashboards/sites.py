"""The dashboards of one school of a district, for people who must not see the others.

Who may ask a data source may ask it anything. So a school has dashboards, folder and data source of
its own, whose token reads this school alone. Ids end with that of the school.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any, Final

from dashboards.frame import ROOM_UID, TAG
from dashboards.infinity import PROVISIONED
from dashboards.queries import (
    DATA_SOURCE_NAME,
    DATA_SOURCE_UID,
    FRAGMENTS,
    SOURCE,
    filled,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from storage.registry import Site

NOT_OF_A_SITE: Final = frozenset({"pipeline"})
"""Dashboards about the service, of which the token of a school reads nothing."""
_UID: Final = re.compile(r"[\w-]{1,40}", re.ASCII)
_PROVIDER: Final = """\
# The dashboards of one school, for /etc/grafana/provisioning/dashboards: set the path to this
# folder, and orgId to the organization of the school.
apiVersion: 1
providers:
  - name: {uid}
    orgId: 1
    folder: {name}
    folderUid: {uid}
    type: file
    options:
      path: /etc/plumewatch/dashboards/{site}
"""


def site_uid(uid: str, site: Site | None) -> str:
    """Return the id of something of a school in Grafana: at most 40 letters, digits, ``-``, ``_``.

    >>> from storage.registry import Site
    >>> site_uid("plumewatch-now", Site("north", "North High", "UTC"))
    'plumewatch-now-north'
    >>> site_uid("plumewatch-now", Site("a.b", "North High", "UTC"))
    'plumewatch-now-2e7336dc8e'
    """
    if site is None:
        return uid
    found = f"{uid}-{site.id}"
    digest = hashlib.sha256(site.id.encode()).hexdigest()[:10]
    return found if _UID.fullmatch(found) else f"{uid}-{digest}"


def source_name(site: Site | None) -> str:
    """Return the name of the data source of a school."""
    return f"{DATA_SOURCE_NAME} {site.name}" if site else DATA_SOURCE_NAME


def of_site(body: Mapping[str, Any], site: Site) -> dict[str, Any]:
    """Return a dashboard as the one of a school: its ids, title, data source and marks."""
    links = json.dumps(body).replace(f"/d/{ROOM_UID}?", f"/d/{site_uid(ROOM_UID, site)}?")
    found: dict[str, Any] = json.loads(links)
    tag = site_uid(TAG, site)
    found.update(uid=site_uid(found["uid"], site), tags=[tag])
    found["title"] = f"{site.name}: {found['title'].partition(': ')[2]}"
    for link in found["links"] if found.get("links") else ():
        link["tags"] = [tag] if link.get("tags") else link.get("tags")
    for variable in found["templating"]["list"]:
        if variable["name"] == SOURCE:
            variable["regex"] = f"/^{re.escape(source_name(site))}$/"
            variable["current"].update(
                text=source_name(site), value=site_uid(DATA_SOURCE_UID, site)
            )
        if variable["name"] in (SOURCE, "site"):
            variable["hide"] = 2
    found["panels"] = [panel for panel in found["panels"] if not _is_of_service(panel)]
    for mark in found["annotations"].get("list", ()):
        if mark["datasource"]["type"] == "grafana":  # which everybody of the Grafana can read
            mark.pop("target")
            mark.update(datasource={"type": "influxdb", "uid": f"${{{SOURCE}}}"}, query=_INCIDENTS)
    return found


_INCIDENTS: Final = filled(
    'SELECT "room" AS "sentence", "kind", ("onset" + "detected_s" + "resolved_s") * 1000 AS "until"'
    " FROM {incident} WHERE {in_time}"
)


def _is_of_service(panel: Mapping[str, Any]) -> bool:
    return any(FRAGMENTS["pipeline"] in target["query"] for target in panel.get("targets", ()))


def provisioning(site: Site) -> dict[str, str]:
    """Return the files of Grafana's provisioning for a school, by name."""
    uid = site_uid(TAG, site)
    source = PROVISIONED.replace(
        f"uid: {DATA_SOURCE_UID}", f"uid: {site_uid(DATA_SOURCE_UID, site)}"
    )
    source = source.replace(f"name: {DATA_SOURCE_NAME}", f"name: {json.dumps(source_name(site))}")
    source = source.replace("/grafana-token", f"/grafana/{site.id}")
    source = source.replace("add Grafana --", f"add Grafana --site {site.id} --")
    provider = _PROVIDER.format(uid=uid, name=json.dumps(site.name), site=site.id)
    return {"datasource-embedded.yaml": source, "folder.yaml": provider}
