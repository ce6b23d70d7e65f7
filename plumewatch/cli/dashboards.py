"""`plumewatch dashboards`: write the Grafana dashboards to files, or push them to Grafana."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import CONFIG, ConfigOption, OptionalConfig, Site, list_examples
from plumewatch.cli.printer import echo
from plumewatch.config.secrets import load_secret_at
from plumewatch.errors import UnreachableError, UsageError
from reports.rows import name_rooms

if TYPE_CHECKING:
    from dashboards.boards import DashboardSettings
    from plumewatch.config.model import PlumewatchConfig


app = typer.Typer()
dashboards_app = typer.Typer(
    help="Write the Grafana dashboards to files, or push them to Grafana.", no_args_is_help=True
)
app.add_typer(dashboards_app, name="dashboards", rich_help_panel="Storage")

UrlOption = Annotated[str, typer.Option(help="Address of the Grafana server.")]
TokenFileOption = Annotated[Path, typer.Option(help="File with a service account's token.")]
Influxdb3Option = Annotated[
    bool, typer.Option("--influxdb3", help="For an InfluxDB 3, with one data source per database.")
]

_NO_INFLUXDB = (
    "Grafana needs InfluxDB, and timeseries.url names none. Set it and run `plumewatch storage"
    " setup`. Without InfluxDB, the staff page shows air, sensors and statistics"
)


@dashboards_app.command(epilog=list_examples("plumewatch dashboards build --out dashboards"))
def build(
    *,
    out: Annotated[Path, typer.Option(help="Folder for the files.")] = Path("dashboards"),
    config: OptionalConfig = None,
    influxdb3: Influxdb3Option = False,
) -> None:
    """Write the dashboards as provisioning files for Grafana; without --config, as shipped."""
    from dashboards.boards import DashboardSettings
    from dashboards.build import write

    settings = DashboardSettings(influxdb3=influxdb3)
    if config:
        settings = _build_settings(Site.load(config).config, influxdb3=influxdb3)
    for name, changed in write(out, settings).items():
        echo(f"{out / name}: {'written' if changed else 'unchanged'}")
    echo(f"days and hours in {settings.zone} time; links to {settings.page_url}")


@dashboards_app.command(
    epilog=list_examples(
        "plumewatch dashboards push --url http://127.0.0.1:3000 --token-file token"
    )
)
def push(
    *,
    url: UrlOption,
    token_file: TokenFileOption,
    config: ConfigOption = CONFIG,
    reader_file: Annotated[
        Path | None,
        typer.Option(help="Reader's secret that `storage setup` wrote, for the data source."),
    ] = None,
    influxdb3: Influxdb3Option = False,
) -> None:
    """Create or update data source and dashboards in Grafana, and print what changed."""
    from dashboards.build import DataSource, build_all
    from dashboards.queries import POLICIES

    try:
        from dashboards.grafana import Grafana, Refused, Unreachable
    except ImportError as error:
        raise UsageError("this needs an extra: pip install 'plumewatch[dashboards]'") from error
    loaded = Site.load(config)
    settings = _build_settings(loaded.config, influxdb3=influxdb3)
    try:
        server = Grafana(url, load_secret_at("token", token_file).reveal())
    except ValueError as error:
        raise UsageError(f"--url: {error}") from error
    source, series = None, loaded.config.timeseries
    if reader_file is not None:
        password = load_secret_at("reader", reader_file).reveal()
        user = f"{series.database}_reader"
        source = DataSource(series.url.rstrip("/"), series.database, user, password)
    try:
        server.check()
        for policy in POLICIES if influxdb3 else ("",):
            echo(server.apply_data_source(source, policy))
        for change in server.push(build_all(settings)):
            echo(change)
    except Refused as error:
        raise RefusedError(str(error)) from error
    except Unreachable as error:
        raise UnreachableError(str(error)) from error


def _build_settings(config: PlumewatchConfig, *, influxdb3: bool) -> DashboardSettings:
    from dashboards.boards import DashboardSettings

    if not config.timeseries.url:
        raise UsageError(_NO_INFLUXDB)
    registry = config.build_registry()
    return DashboardSettings(
        zone=config.timezone,
        page_url=config.web.url,
        docs_url=config.web.docs_url.rstrip("/"),
        sensors=tuple(registry.sensors),
        influxdb3=influxdb3,
        names=name_rooms(
            (r.id, r.name, r.floor, r.whole_building) for r in registry.rooms.values()
        ),
    )
