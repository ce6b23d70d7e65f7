"""`plumewatch dashboards`: Grafana dashboards into files, or into a Grafana."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from typer import Option

from ingest.errors import RefusedError
from plumewatch.cli.exit_codes import REFUSED
from plumewatch.cli.options import CONFIG, ConfigOption, JsonOption, command, config_option, group
from plumewatch.cli.printer import Printer
from plumewatch.cli.site import Site
from plumewatch.errors import UnreachableError, UsageError
from reports.rows import room_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from alerts.outbound.grafana_annotations import Annotation
    from dashboards.frame import DashboardSettings
    from dashboards.grafana import Change, DataSource, Grafana
    from plumewatch.config.model import PlumewatchConfig

app = typer.Typer()
dashboards_app = group("Grafana dashboards: into files, or into a Grafana.")
app.add_typer(dashboards_app, name="dashboards")

UrlOption = Annotated[str, typer.Option("--url", help="Address of the Grafana.")]
InfluxDb3Option = Annotated[
    bool, Option("--influxdb3", help="The series is an InfluxDB 3: a data source a database.")
]
StoreOption = Annotated[
    Literal["influxdb", "embedded"],
    Option("--store", help="What the dashboards ask: an InfluxDB, or the staff page."),
]
TokenOption = Annotated[
    Path, typer.Option("--token-file", help="File with the token of a service account.")
]


@command(dashboards_app, "build", "plumewatch dashboards build --out dashboards")
def build(
    out: Annotated[Path, Option(help="Folder of the files.")] = Path("dashboards"),
    config: Annotated[Path | None, config_option("Configuration, for time zone and links.")] = None,
    *,
    influxdb3: InfluxDb3Option = False,
    store: StoreOption = "influxdb",
    as_json: JsonOption = False,
) -> None:
    """Write the dashboards as files for Grafana's provisioning; without --config, as shipped."""
    printer = Printer(as_json=as_json)
    with _translated_errors():
        from dashboards.build import write
        from dashboards.frame import DashboardSettings

        settings = DashboardSettings(influxdb3=influxdb3, embedded=store == "embedded")
        if config is not None:
            settings = _settings(Site.load(config).config, store, influxdb3=influxdb3)
        for name, changed in write(out, settings).items():
            outcome = "written" if changed else "unchanged"
            printer.say(f"{out / name}: {outcome}", file=out / name, outcome=outcome)
    printer.say(
        f"days and hours of {settings.zone}; links to {settings.page_url}",
        zone=settings.zone,
        page_url=settings.page_url,
    )


@command(
    dashboards_app,
    "push",
    "plumewatch dashboards push --url http://127.0.0.1:3000 --token-file token",
)
def push(
    url: UrlOption,
    token_file: TokenOption,
    config: ConfigOption = CONFIG,
    reader_file: Annotated[
        Path | None,
        Option(
            help="Secret of the account of `storage setup`, or token of the staff page with"
            " --store embedded, to make the data source."
        ),
    ] = None,
    days: Annotated[float, Option(min=0, max=3660, help="Incidents written as annotations.")] = 7.0,
    *,
    dry_run: Annotated[
        bool, Option("--dry-run", help="Print what would change, and write nothing.")
    ] = False,
    influxdb3: InfluxDb3Option = False,
    store: StoreOption = "influxdb",
    as_json: JsonOption = False,
) -> None:
    """Write folder, dashboards and annotations of incidents that differ; prints what changed."""
    if dry_run:
        diff(url, token_file, config, influxdb3=influxdb3, store=store, as_json=as_json)
        return
    printer = Printer(as_json=as_json)
    with _translated_errors():
        from dashboards.build import built

        server, site = _grafana(url, token_file), Site.load(config)
        source = None if reader_file is None else _source(site.config, reader_file, store)
        server.check()
        for policy in _policies(influxdb3=influxdb3):
            _print_change(printer, server.data_source(source, policy))
        settings = _settings(site.config, store, influxdb3=influxdb3)
        for change in server.push(built(settings)):
            _print_change(printer, change)
        if days:
            now = time.time()
            since = now - 86_400.0 * days
            _print_annotations(printer, server.annotate(_annotations(site, since), since, now))


@command(
    dashboards_app,
    "diff",
    "plumewatch dashboards diff --url http://127.0.0.1:3000 --token-file token",
)
def diff(
    url: UrlOption,
    token_file: TokenOption,
    config: ConfigOption = CONFIG,
    *,
    influxdb3: InfluxDb3Option = False,
    store: StoreOption = "influxdb",
    as_json: JsonOption = False,
) -> int | None:
    """Print what `push` would write; ends with 1 if anything, with 3 if the Grafana refuses."""
    printer, code = Printer(as_json=as_json), None
    with _translated_errors(refused=UnreachableError):
        from dashboards.build import built

        server, site = _grafana(url, token_file), Site.load(config)
        server.check()
        settings = _settings(site.config, store, influxdb3=influxdb3)
        for change in server.compare(built(settings), _policies(influxdb3=influxdb3)):
            if change.outcome != "unchanged":
                code = REFUSED
            _print_change(printer, change)
    return code


@contextmanager
def _translated_errors(refused: type[Exception] = RefusedError) -> Iterator[None]:
    """Turn what is not installed, and what a Grafana refuses, into errors of commands."""
    try:
        from dashboards.grafana import Refused, Unreachable
    except ImportError as error:
        raise UsageError(
            "the dashboards are an extra: pip install 'plumewatch[dashboards]'"
        ) from error
    try:
        yield
    except Refused as error:
        raise refused(str(error)) from error
    except Unreachable as error:
        raise UnreachableError(str(error)) from error


def _print_change(printer: Printer, change: Change) -> None:
    detail = {"detail": change.detail} if change.detail else {}
    printer.say(str(change), what=change.what, outcome=change.outcome, **detail)


def _print_annotations(printer: Printer, changes: Iterable[Change]) -> None:
    """Print how many annotations changed; raises `RefusedError` with those that were refused."""
    from dashboards.grafana import Change

    outcomes: Counter[str] = Counter()
    refused: list[str] = []
    for change in changes:
        outcomes[change.outcome] += 1
        if change.outcome == "refused":
            refused.append(str(change))
    text = f"{outcomes['created']} new, {outcomes['changed']} changed, "
    text += f"{outcomes['unchanged']} unchanged"
    if refused:
        text += f", {len(refused)} refused"
    outcome = next((o for o in ("refused", "created", "changed") if outcomes[o]), "unchanged")
    _print_change(printer, Change("annotations of incidents", outcome, text))
    if refused:
        raise RefusedError("\n".join(refused))


def _grafana(url: str, token_file: Path) -> Grafana:
    from dashboards.grafana import Grafana

    token = _secret(token_file)
    try:
        return Grafana(url, token)
    except ValueError as error:
        raise UsageError(f"--url: {error}") from error


def _settings(config: PlumewatchConfig, store: str, *, influxdb3: bool) -> DashboardSettings:
    from dashboards.frame import DashboardSettings

    registry = config.registry()
    sensors = tuple((sensor.id, sensor.room) for sensor in registry.sensors.values())
    return DashboardSettings(
        zone=config.timezone,
        page_url=config.web.url,
        docs_url=config.web.docs_url.rstrip("/"),
        rooms=tuple(registry.rooms),
        sensors=sensors,
        influxdb3=influxdb3,
        embedded=store == "embedded",
        names=room_names(
            (r.id, r.name, r.floor, r.whole_building) for r in registry.rooms.values()
        ),
    )


def _policies(*, influxdb3: bool) -> tuple[str, ...]:
    from dashboards.queries import POLICIES

    return POLICIES if influxdb3 else ("",)


def _secret(path: Path) -> str:
    """Read a file of one word."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: must contain text, the token or password") from error
    if not text or not text.isascii() or len(text.split()) != 1:
        raise UsageError(f"{path}: must contain one word, the token or password")
    return text


def _source(config: PlumewatchConfig, reader_file: Path, store: str) -> DataSource:
    from dashboards.grafana import DataSource

    series = config.timeseries
    if store == "embedded":
        return DataSource(config.web.url, "", "", _secret(reader_file), embedded=True)
    if not series.url:
        raise UsageError("timeseries.url is not set: dashboards need an InfluxDB")
    user, password = f"{series.database}_reader", _secret(reader_file)
    return DataSource(series.url.rstrip("/"), series.database, user, password)


def _annotations(site: Site, since: float) -> list[Annotation]:
    """Return the incidents since a time; none if the service has not run yet."""
    from alerts.outbound.grafana_annotations import incident_annotations

    if not site.paths.state.exists():
        return []
    with site.read(site.paths.state) as db:
        rooms = site.config.registry().rooms
        return incident_annotations(db, rooms, site.config.web.url, since)
