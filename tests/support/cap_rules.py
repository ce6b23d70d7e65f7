"""The rules of the OASIS schema for CAP 1.2, as tables; `faults` of a message against them."""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

NAMESPACE = "{urn:oasis:names:tc:emergency:cap:1.2}"
DATE_TIME = r"\d\d\d\d-\d\d-\d\dT\d\d:\d\d:\d\d[-+]\d\d:\d\d"
ANY = r"(?s).*"
LANGUAGE = r"[a-zA-Z]{1,8}(-[a-zA-Z0-9]{1,8})*"
URI = r"\S+"

# element: (fewest, most, pattern or table of what is inside), in the one order allowed
AREA = {
    "areaDesc": (1, 1, ANY),
    "polygon": (0, 9, ANY),
    "circle": (0, 9, ANY),
    "geocode": (0, 9, {"valueName": (1, 1, ANY), "value": (1, 1, ANY)}),
    "altitude": (0, 1, r"-?\d+(\.\d+)?"),
    "ceiling": (0, 1, r"-?\d+(\.\d+)?"),
}
CATEGORY = "Geo|Met|Safety|Security|Rescue|Fire|Health|Env|Transport|Infra|CBRNE|Other"
INFO = {
    "language": (0, 1, LANGUAGE),
    "category": (
        1,
        9,
        CATEGORY,
    ),
    "event": (1, 1, ANY),
    "responseType": (
        0,
        9,
        "Shelter|Evacuate|Prepare|Execute|Avoid|Monitor|Assess|AllClear|None",
    ),
    "urgency": (1, 1, "Immediate|Expected|Future|Past|Unknown"),
    "severity": (1, 1, "Extreme|Severe|Moderate|Minor|Unknown"),
    "certainty": (1, 1, "Observed|Likely|Possible|Unlikely|Unknown"),
    "audience": (0, 1, ANY),
    "eventCode": (0, 9, {"valueName": (1, 1, ANY), "value": (1, 1, ANY)}),
    "effective": (0, 1, DATE_TIME),
    "onset": (0, 1, DATE_TIME),
    "expires": (0, 1, DATE_TIME),
    "senderName": (0, 1, ANY),
    "headline": (0, 1, ANY),
    "description": (0, 1, ANY),
    "instruction": (0, 1, ANY),
    "web": (0, 1, URI),
    "contact": (0, 1, ANY),
    "parameter": (0, 9, {"valueName": (1, 1, ANY), "value": (1, 1, ANY)}),
    "resource": (0, 9, {"resourceDesc": (1, 1, ANY), "mimeType": (1, 1, ANY)}),
    "area": (0, 9, AREA),
}
ALERT = {
    "identifier": (1, 1, r"[^\s,<&]+"),
    "sender": (1, 1, r"[^\s,<&]+"),
    "sent": (1, 1, DATE_TIME),
    "status": (1, 1, "Actual|Exercise|System|Test|Draft"),
    "msgType": (1, 1, "Alert|Update|Cancel|Ack|Error"),
    "source": (0, 1, ANY),
    "scope": (1, 1, "Public|Restricted|Private"),
    "restriction": (0, 1, ANY),
    "addresses": (0, 1, ANY),
    "code": (0, 9, ANY),
    "note": (0, 1, ANY),
    "references": (0, 1, rf"([^\s,<&]+,[^\s,<&]+,{DATE_TIME})( [^\s,<&]+,[^\s,<&]+,{DATE_TIME})*"),
    "incidents": (0, 1, ANY),
    "info": (0, 9, INFO),
}


def faults(message):
    """All that the schema, and the sentences beside it, say against a message."""
    root = ET.fromstring(message)  # noqa: S314 - our own
    if root.tag != f"{NAMESPACE}alert":
        return [f"root is {root.tag}"]
    found = list(_faults(root, ALERT, "alert"))
    scope = root.findtext(f"{NAMESPACE}scope")
    if (scope == "Restricted") != (root.find(f"{NAMESPACE}restriction") is not None):
        found.append("restriction goes with the scope Restricted")
    kind = root.findtext(f"{NAMESPACE}msgType")
    if (kind in {"Update", "Cancel", "Ack"}) != (root.find(f"{NAMESPACE}references") is not None):
        found.append(f"references go with {kind}")
    return found


def _faults(element, table, path):
    names = list(table)
    tags = [child.tag.removeprefix(NAMESPACE) for child in element]
    for tag in tags:
        if tag not in table:
            yield f"{path}: there is no {tag}"
    known = [tag for tag in tags if tag in table]
    if known != sorted(known, key=names.index):
        yield f"{path}: order of {known}"
    for name, (fewest, most, inside) in table.items():
        children = element.findall(f"{NAMESPACE}{name}")
        if not fewest <= len(children) <= most:
            yield f"{path}: {len(children)} of {name}"
        for child in children:
            if isinstance(inside, dict):
                yield from _faults(child, inside, f"{path}.{name}")
            elif len(child) or not re.fullmatch(inside, child.text or ""):
                yield f"{path}.{name}: {child.text!r}"
