"""Systems that are told of incidents: whether they would take what the service writes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from plumewatch.config.settings import grafana_target
from plumewatch.doctor.finding import Finding, fault, fine

if TYPE_CHECKING:
    from collections.abc import Iterator

    from plumewatch.config.model import PlumewatchConfig


def grafana_findings(config: PlumewatchConfig, now: float) -> Iterator[Finding]:
    """Ask the Grafana for its annotations, as the service does; nothing is written."""
    target = grafana_target(config)
    if target is None:
        return
    from dashboards.grafana import Grafana, Refused, Unreachable  # noqa: PLC0415 - an extra

    part = "grafana"
    server = Grafana(target.url, target.token.reveal())
    try:
        server.check()
        for _ in server.annotate((), now - 1.0, now):
            pass
    except Refused as error:
        yield fault(
            part,
            f"{error}; no incident would be annotated",
            "a token of a service account with the role Editor into the file or variable of"
            " [outbound.grafana] (Grafana: Administration, Service accounts)",
        )
    except Unreachable as error:
        yield fault(
            part,
            f"{error}; incidents wait for it, alerts do not",
            "start the Grafana, or in [outbound.grafana] the url at which this machine reaches it",
        )
    else:
        yield fine(part, f"{target.url} takes the token (nothing was written)")
