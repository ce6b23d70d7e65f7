"""An incident as a message of the Common Alerting Protocol 1.2, for mass-notification systems.

*Alert* as it opens, *Update* as somebody responds, *Cancel* when it is over or withdrawn; each
refers to those before it. The scope is *Restricted*: for staff and their systems. Source: OASIS
Standard, Common Alerting Protocol Version 1.2, 1 July 2010, sections 3.2 and 3.3.
"""

from __future__ import annotations

import re
from datetime import datetime
from typing import TYPE_CHECKING, Any, Final
from xml.etree import ElementTree as ET

from alerts.notify.notice import KIND_WORDS

if TYPE_CHECKING:
    from collections.abc import Mapping
    from zoneinfo import ZoneInfo

    from storage.registry import Room

NAMESPACE: Final = "urn:oasis:names:tc:emergency:cap:1.2"
_RESTRICTION: Final = "staff of the school and systems that act for them"
_NOT_IN_IDS: Final = re.compile(r"[\s,<&]")
_CATEGORY: Final = {
    "vape": "Health",
    "smoke": "Fire",
    "tamper": "Security",
    "integrity": "Security",
    "sensor_fault": "Infra",
    "offline": "Infra",
}
_SEVERITY: Final = {"critical": "Severe", "warning": "Moderate", "info": "Minor"}
_NOT_XML: Final = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def cap_message(
    incident: Mapping[str, Any],
    room: Room | None,
    *,
    sender: str,
    school: str,
    zone: ZoneInfo,
    link: str = "",
) -> bytes:
    """Return the newest message of an incident; `sender` is a name unique in the world."""
    number = _NOT_IN_IDS.sub("-", incident["id"])
    messages = [
        (f"{number}.{k}", kind, _moment(at, zone))
        for k, (kind, at) in enumerate(_messages(incident), 1)
    ]
    identifier, kind, sent = messages[-1]
    what = KIND_WORDS.get(incident["kind"], incident["kind"])
    place = room.full_name if room else incident["room"]
    over = kind == "Cancel"
    root = ET.Element("alert", xmlns=NAMESPACE)
    earlier = " ".join(f"{sender},{i},{at}" for i, _, at in messages[:-1])
    _add(root, "identifier", identifier)
    _add(root, "sender", sender)
    _add(root, "sent", sent)
    _add(root, "status", "Test" if incident["verdict"] == "test" else "Actual")
    _add(root, "msgType", kind)
    _add(root, "scope", "Restricted")
    _add(root, "restriction", _RESTRICTION)
    if earlier:
        _add(root, "references", earlier)
    _add(root, "incidents", number)
    info = ET.SubElement(root, "info")
    _add(info, "language", "en-US")
    _add(info, "category", _CATEGORY.get(incident["kind"], "Env"))
    _add(info, "event", what)
    _add(info, "responseType", "AllClear" if over else "Assess")
    _add(info, "urgency", "Past" if over else "Immediate")
    _add(info, "severity", _SEVERITY[incident["severity"]])
    _add(info, "certainty", _certainty(incident))
    _add(info, "onset", _moment(incident["onset"], zone))
    _add(info, "senderName", school)
    _add(info, "headline", f"{place}: {what}{', over' if over else ''}")
    if incident["events"]:
        _add(info, "description", incident["events"][0]["why"]["sentence"])
    if link:
        _add(info, "web", link)
    site = {"site": room.site} if room and room.names_site else {}
    for name, value in {"room": incident["room"], "kind": incident["kind"], **site}.items():
        parameter = ET.SubElement(info, "parameter")
        _add(parameter, "valueName", name)
        _add(parameter, "value", value)
    _add(ET.SubElement(info, "area"), "areaDesc", place)
    ET.indent(root)
    text: str = ET.tostring(root, encoding="unicode")
    return f'<?xml version="1.0" encoding="UTF-8"?>\n{text}\n'.encode()


def _messages(incident: Mapping[str, Any]) -> list[tuple[str, float]]:
    found = [("Alert", incident["opened_at"])]
    if incident["acknowledged_at"] is not None:
        found.append(("Update", incident["acknowledged_at"]))
    end = incident["withdrawn_at"] or incident["resolved_at"]
    if end is not None:
        found.append(("Cancel", end))
    return found


def _certainty(incident: Mapping[str, Any]) -> str:
    """Likely is more than even (section 3.2.2); what an adult saw is observed."""
    if incident["verdict"] == "confirmed":
        return "Observed"
    if incident["verdict"] in {"false_alarm", "nothing_found"} or incident["withdrawn_at"]:
        return "Unlikely"
    return "Likely" if incident["confidence"] > 0.5 else "Possible"


def _moment(at: float, zone: ZoneInfo) -> str:
    return datetime.fromtimestamp(int(at), zone).isoformat()


def _add(parent: ET.Element, name: str, text: str) -> None:
    ET.SubElement(parent, name).text = _NOT_XML.sub("", text)
