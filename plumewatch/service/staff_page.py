"""The staff page of a service, with its health pages, on its port."""

from __future__ import annotations

import sys
from functools import partial
from typing import TYPE_CHECKING

from alerts.page.app import create_app
from alerts.page.settings import StaffPageSettings
from alerts.page.views.report_jobs import ReportJobs
from plumewatch.config.report_settings import school_of
from plumewatch.config.secrets import read_secret
from plumewatch.service.health_page import HealthPages
from plumewatch.service.unmatched import suggestion_for
from plumewatch.service.web_server import WebServer, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from plumewatch.service.app import Service


def staff_page(
    service: Service,
    *,
    on_change: Callable[[], None],
    intervals: Callable[[], Mapping[str, float]],
    clock: Callable[[], float],
) -> WebServer:
    """Make the page and take its port.

    Parameters
    ----------
    on_change, intervals, clock : callable
        As in `StaffPageSettings`.

    Raises
    ------
    PortInUseError
    """
    config, paths = service.config, service.paths
    local = is_loopback(config.web.host)
    app = create_app(
        StaffPageSettings(
            database=paths.state,
            engine=service.engine,
            series=service.series,
            on_change=on_change,
            changes=service.changes,
            pipeline=service.pipeline,
            intervals=intervals,
            on_duty=service.on_duty,
            school_day=service.school_day,
            suggest_mapping=partial(suggestion_for, service.intake),
            open_reading=local and not config.web.public_url,
            one_click=local and not config.web.public_url and service.one_click,
            secure_cookie=config.web.public_url.startswith("https://"),
            hosts=config.web.hosts,
            school=config.site,
            grafana_url=config.web.grafana_url.rstrip("/"),
            clock=clock,
            cap_sender=config.outbound.cap.sender,
            cap_token=read_secret(config, "outbound.cap.token"),
            times=school_of(config).times,
            journal=paths.journal,
            reports=ReportJobs(
                paths.reports,
                (sys.executable, "-m", "plumewatch.report_job"),
                config.model_dump_json(by_alias=True),
                clock,
            ),
        )
    )
    pages = HealthPages(
        app, service.health, read_secret(config, "metrics.token"), on_loopback=local
    )
    return WebServer(pages, config.web.host, config.web.port)
