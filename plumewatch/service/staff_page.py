"""Build the staff page of a service, with its health pages."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Mount

from alerts.page.app import create_app
from alerts.page.report_jobs import ReportJobs
from alerts.page.settings import AccessSettings, NoticeSettings, StaffPageSettings
from plumewatch.config.secrets import read_secret
from plumewatch.config.settings import build_identity_provider, build_school, build_sign_in_rules
from plumewatch.service.health import HealthPages
from plumewatch.service.jobs import evaluate_in_process
from plumewatch.service.process import run_in_process
from plumewatch.service.web_server import WebServer, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from alerts.page.config_file import ConfigFile
    from plumewatch.config.model import PlumewatchConfig
    from plumewatch.config.sections.web import WebConfig
    from plumewatch.service.alerting import Alerting
    from plumewatch.service.health import Health
    from plumewatch.service.meters import Meters
    from plumewatch.service.monitoring import Monitoring
    from plumewatch.service.resources import Resources
    from plumewatch.service.web_server import Listening


def build_staff_page(
    resources: Resources,
    alerting: Alerting,
    monitoring: Monitoring,
    *,
    one_click: bool,
    banner: Callable[[], str],
    config_file: ConfigFile | None,
    listening: Listening,
) -> WebServer:
    """Build the page and bind its port, or raise `ServiceError`; `one_click` needs loopback."""
    config, paths, clock = resources.config, resources.paths, resources.clock
    public_url, push_key = config.web.public_url, alerting.push_key()
    app = create_app(
        StaffPageSettings(
            database=paths.state,
            engine=alerting.engine,
            series=resources.series,
            school=build_school(config),
            pipeline=monitoring,
            notices=NoticeSettings(
                send_test=alerting.send_test,
                read_channels=alerting.read_channels,
                gateways=alerting.gateways,
                push_key=push_key.public if push_key else "",
                allow_private_targets=config.alerts.allow_private_targets,
            ),
            evaluate_room=partial(evaluate_in_process, config),
            reports=ReportJobs(
                paths.reports,
                partial(run_in_process, str, "plumewatch.report_request:make_for_page", config),
                clock,
            ),
            access=AccessSettings(
                one_click=one_click and is_loopback(config.web.host) and not public_url,
                sign_in=build_sign_in_rules(config),
                provider=build_identity_provider(config, clock),
                secure_cookie=public_url.startswith("https://"),
                hosts=config.web.hosts,
                limits=listening.limits,
            ),
            banner=banner,
            grafana_url=config.web.grafana_url.rstrip("/"),
            help_phone=config.web.help_phone,
            config=config_file,
            changes=alerting.changes,
            clock=clock,
        )
    )
    return _build_server(app, config, monitoring.health, monitoring.meters, listening)


def build_starting_page(
    config: PlumewatchConfig, monitoring: Monitoring, listening: Listening
) -> WebServer:
    """Build the server of a starting service: its health, and 503 for everything else."""
    starting = PlainTextResponse("Plumewatch is starting", 503, {"retry-after": "5"})
    app = Starlette(routes=[Mount("/", starting)])
    return _build_server(app, config, monitoring.health, None, listening)


def is_on_loopback(web: WebConfig) -> bool:
    """Return whether only this machine can reach the page, and no proxy leads to it."""
    return is_loopback(web.host) and is_loopback(urlsplit(web.public_url).hostname or web.host)


def _build_server(
    app: ASGIApp,
    config: PlumewatchConfig,
    health: Health,
    meters: Meters | None,
    listening: Listening,
) -> WebServer:
    token = read_secret(config, "metrics.token")
    pages = HealthPages(app, health, meters, token, on_loopback=is_on_loopback(config.web))
    return WebServer(
        "staff page",
        pages,
        config.web.host,
        config.web.port,
        trusted_proxies=config.web.trusted_proxies,
        listening=listening,
    )
