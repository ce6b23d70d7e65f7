"""The staff page of a service with its health pages, and what it shows of the pipeline."""

from __future__ import annotations

import sys
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from alerts.access.limits import Limits
from alerts.notify.trial_notices import send_trials
from alerts.page.app import create_app
from alerts.page.report_jobs import ReportJobs
from alerts.page.settings import MappingSuggestion, StaffPageSettings
from ingest.mapping.draft import SuggestError, toml_value
from ingest.mapping.suggest import suggest_any
from ingest.message import Message
from ingest.routes import likely_decoders
from ingest.states import States
from plumewatch.config.secrets import read_secret
from plumewatch.config.settings import identity_provider, school_of, sign_in_rules
from plumewatch.service.health import HealthPages
from plumewatch.service.jobs import draw_labels, evaluate_in_process
from plumewatch.service.web_server import WebServer, is_loopback

if TYPE_CHECKING:
    from collections.abc import Callable

    from alerts.page.config_file import ConfigFile
    from ingest.intake import Intake
    from plumewatch.service.alerting import Alerting
    from plumewatch.service.ingestion import Ingestion
    from plumewatch.service.monitoring import Monitoring
    from plumewatch.service.resources import Resources
    from plumewatch.service.web_server import Listening


def staff_page(
    resources: Resources,
    alerting: Alerting,
    monitoring: Monitoring,
    ingestion: Ingestion,
    *,
    one_click: bool,
    banner: Callable[[], str],
    config_file: ConfigFile | None = None,
    listening: Listening | None = None,
) -> WebServer:
    """Make the page and bind its port, or raise `PortInUseError`; `one_click` is for loopback."""
    config, paths, clock = resources.config, resources.paths, resources.clock
    engine, school = alerting.engine, school_of(config)
    shifts = engine.policy.roster.shifts if engine.policy.roster else ()
    local = is_loopback(config.web.host)
    push_key = alerting.push_key()
    app = create_app(
        StaffPageSettings(
            database=paths.state,
            engine=engine,
            series=resources.series,
            on_change=alerting.changes.notify,
            changes=alerting.changes,
            pipeline=monitoring.pipeline,
            intervals=monitoring.intervals,
            evaluate_room=partial(evaluate_in_process, config),
            draw_labels=draw_labels if config.web.public_url else None,
            on_duty=partial(school.duty, shifts),
            school_day=school.has_school,
            suggest_mapping=partial(suggestion_for, ingestion.intake),
            open_reading=local and not config.web.public_url,
            one_click=local and not config.web.public_url and one_click,
            sign_in=sign_in_rules(config),
            provider=identity_provider(config, clock),
            secure_cookie=config.web.public_url.startswith("https://"),
            hosts=config.web.hosts,
            school=config.site,
            banner=banner,
            config=config_file,
            wall=paths.wall,
            push_key=push_key.public if push_key else "",
            read_browsers=alerting.read_browsers,
            allow_private_targets=config.alerts.allow_private_targets,
            limits=listening.limits if listening else Limits(),
            send_test=lambda member: send_trials(
                alerting.sender, [member], paths.state, engine.policy, config.site, clock()
            ),
            grafana_url=config.web.grafana_url.rstrip("/"),
            clock=clock,
            times=school.times,
            journal=paths.journal,
            reports=ReportJobs(
                paths.reports,
                (sys.executable, "-m", "plumewatch.report_request"),
                config.model_dump_json(by_alias=True),
                clock,
            ),
        )
    )
    pages = HealthPages(
        app,
        monitoring.health,
        monitoring.meters,
        read_secret(config, "metrics.token"),
        on_loopback=local,
    )
    return WebServer(
        "staff page",
        pages,
        config.web.host,
        config.web.port,
        trusted_proxies=config.web.trusted_proxies,
        listening=listening,
    )


def suggestion_for(intake: Intake, topic: str) -> MappingSuggestion | None:
    """Suggest a mapping from the last payload of an unmatched topic; None if there is none."""
    unmatched = intake.unmatched.get(topic)
    if unmatched is None:
        return None
    context = replace(intake.config.context, states=States())
    message = Message(topic, unmatched.sample, unmatched.last_seen)
    likely = [name for name in likely_decoders(message, context) if name != "generic"]
    route = "".join(
        f"[[route]]\ntopic = {toml_value(topic)}\ndecoder = {toml_value(name)}\n\n"
        for name in likely[:3]
    )
    discovery = intake.config.context.states.discoveries.get(topic, [])
    try:
        text = suggest_any(
            topic,
            [unmatched.sample, *discovery],
            received=float(round(unmatched.last_seen)),
            zone=context.zone,
        )
    except SuggestError as error:
        cut = len(unmatched.sample) >= intake.config.sample_bytes
        reason = f"{error}; only the beginning of the payload was kept" if cut else str(error)
        return MappingSuggestion(unmatched.sample, "", reason, route.strip())
    return MappingSuggestion(unmatched.sample, text, "", route.strip())
