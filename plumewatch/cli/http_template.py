"""``plumewatch http-template``: what to paste into a device that posts what it is told to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from ingest.decoders.halo import HEARTBEAT, TEMPLATE
from plumewatch.cli.exit_codes import DONE, USAGE

if TYPE_CHECKING:
    from plumewatch.cli.printer import Printer

TEMPLATED: Final = ("halo",)
"""Decoders of devices whose message the user types in."""


def run_template(decoder: str, url: str, printer: Printer) -> int:
    """Print the fields of the device's page, one a line, name and text apart by a tab.

    Parameters
    ----------
    decoder : str
        One of `TEMPLATED`.
    url : str
        Where the device reaches the HTTP ingest, such as ``https://plumewatch.example.org:8421``.

    Returns
    -------
    int
        0 printed, 2 no such template or no such URL.
    """
    if decoder not in TEMPLATED:
        printer.err.write(f"no template for {decoder!r}; there are: {', '.join(TEMPLATED)}\n")
        return USAGE
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.netloc or "@" in parts.netloc:
        printer.err.write(f"{url!r}: must be http:// or https:// with a host, and no user\n")
        return USAGE
    place = (
        f"{parts.scheme}://%USER%:%PSWD%@{parts.netloc}{parts.path.rstrip('/')}/ingest/{decoder}"
    )
    lines = (
        ("Set String", f"POST:{place}?[JSONBODY]{TEMPLATE}"),
        ("Reset String", f"POST:{place}?[JSONBODY]{TEMPLATE.replace('true', 'false')}"),
        ("Heartbeat String", f"POST:{place}?[JSONBODY]{HEARTBEAT}"),
        ("User", "the name of the [[ingest.source]]"),
        ("Password", "its token"),
    )
    for name, text in lines:
        printer.say(f"{name}\t{text}", name=name, text=text)
    return DONE
