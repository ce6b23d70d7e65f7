"""`plumewatch dashboards`: Grafana dashboards into files, or into a Grafana."""

from __future__ import annotations

import time
from collections import Counter
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ingest.errors import RefusedError
from plumewatch.cli.options import CONFIG, REFUSED, ConfigOption, JsonOption, Site, examples
from plumewatch.cli.printer import Printer
from plumewatch.errors import UnreachableError, UsageError
from reports.rows import room_names

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from alerts.outbound.grafana_annotations import Annotation
    from dashboards.frame import DashboardSettings
    from dashboards.grafana import Change, DataSource, Grafana
    from plumewatch.config.model import PlumewatchConfig
    from storage.registry import Site as School


app = typer.Typer()
dashboards_app = typer.Typer(
    help="Grafana dashboards: into files, or into a Grafana.", no_args_is_help=True
)
app.add_typer(dashboards_app, name="dashboards", rich_help_panel="Data")

UrlOption = Annotated[str, typer.Option(help="Address of the Grafana.")]
TokenFileOption = Annotated[
    Path,
    typer.Option(
        help="File with the token of a service account; of --site also a folder, a file a school."
    ),
]
Influxdb3Option = Annotated[
    bool, typer.Option("--influxdb3", help="The series is an InfluxDB 3: a data source a database.")
]
StoreOption = Annotated[
    Literal["influxdb", "embedded"] | None,
    typer.Option(
        help="What the dashboards ask: an InfluxDB, or the staff page; by default an InfluxDB if"
        " the configuration has one.",
        show_default=False,
    ),
]
SiteOption = Annotated[
    list[str] | None, typer.Option(help="Id of a school that reads no other; * is each of them.")
]

_TOKEN_DAYS = 365.0


@dashboards_app.command(
    epilog=examples(
        "plumewatch dashboards build --out dashboards",
        "plumewatch dashboards build --store embedded --site north --config plumewatch.toml",
    )
)
def build(
    *,
    out: Annotated[Path, typer.Option(help="Folder of the files.")] = Path("dashboards"),
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Configuration, for time zone and links.")
    ] = None,
    influxdb3: Influxdb3Option = False,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write the dashboards as files for Grafana's provisioning; without --config, as shipped."""
    loaded = Site.load(config) if config else None
    printer = Printer(as_json=as_json)
    with _translated_errors():
        from dashboards.build import write
        from dashboards.frame import DashboardSettings

        settings = DashboardSettings(influxdb3=influxdb3, embedded=store == "embedded")
        if site and loaded is None:
            raise UsageError("--site: give --config, which names the schools")
        for school in _schools(loaded.config, site, store) if loaded else [None]:
            folder = out / school.id if school else out
            if loaded:
                settings = _settings(loaded.config, store, school, influxdb3=influxdb3)
            for name, changed in write(folder, settings).items():
                outcome = "written" if changed else "unchanged"
                printer.say(f"{folder / name}: {outcome}", file=folder / name, outcome=outcome)
    printer.say(
        f"days and hours of {settings.zone}; links to {settings.page_url}",
        zone=settings.zone,
        page_url=settings.page_url,
    )


@dashboards_app.command(
    epilog=examples(
        "plumewatch dashboards push --url http://127.0.0.1:3000 --token-file token",
        "plumewatch dashboards push --url http://127.0.0.1:3000 --token-file token --store embedded"
        " --site '*' --reader-file secrets/grafana --person district-admin",
    )
)
def push(
    *,
    url: UrlOption,
    token_file: TokenFileOption,
    config: ConfigOption = CONFIG,
    reader_file: Annotated[
        Path | None,
        typer.Option(
            help="Secret of the account of `storage setup`, or token of the staff page for the"
            " embedded store, to make the data source; of --site also a folder."
        ),
    ] = None,
    person: Annotated[
        str,
        typer.Option(help="With --site: who the tokens act as that are missing in --reader-file."),
    ] = "",
    days: Annotated[
        float, typer.Option(help="Incidents written as annotations.", min=0, max=3660)
    ] = 7.0,
    influxdb3: Influxdb3Option = False,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write folder, dashboards and annotations of incidents that differ; prints what changed."""
    loaded = Site.load(config)
    printer = Printer(as_json=as_json)
    with _translated_errors():
        from dashboards.build import built

        for school in _schools(loaded.config, site, store):
            server, source = _grafana(url, token_file, school), None
            if reader_file is not None:
                source = _source(loaded, _file_of(reader_file, school), store, school, person)
            server.check()
            for policy in _policies(influxdb3=influxdb3):
                _print_change(printer, server.data_source(source, policy), school)
            settings = _settings(loaded.config, store, school, influxdb3=influxdb3)
            for change in server.push(built(settings)):
                _print_change(printer, change, school)
            if days and school is None:  # annotations are for everybody of a Grafana
                now = time.time()
                since = now - 86_400.0 * days
                found = server.annotate(_annotations(loaded, since), since, now)
                _print_annotations(printer, found)


@dashboards_app.command(
    epilog=examples("plumewatch dashboards diff --url http://127.0.0.1:3000 --token-file token")
)
def diff(
    *,
    url: UrlOption,
    token_file: TokenFileOption,
    config: ConfigOption = CONFIG,
    influxdb3: Influxdb3Option = False,
    store: StoreOption = None,
    site: SiteOption = None,
    as_json: JsonOption = False,
) -> int | None:
    """Print what `push` would write; ends with 1 if anything, with 3 if the Grafana refuses."""
    loaded = Site.load(config)
    printer = Printer(as_json=as_json)
    code = None
    with _translated_errors(refused=UnreachableError):
        from dashboards.build import built

        for school in _schools(loaded.config, site, store):
            server = _grafana(url, token_file, school)
            server.check()
            settings = _settings(loaded.config, store, school, influxdb3=influxdb3)
            for change in server.compare(built(settings), _policies(influxdb3=influxdb3)):
                if change.outcome != "unchanged":
                    code = REFUSED
                _print_change(printer, change, school)
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


def _print_change(printer: Printer, change: Change, school: School | None = None) -> None:
    more = {"detail": change.detail} if change.detail else {}
    more |= {"site": school.id} if school else {}
    where = f"{school.id}: " if school else ""
    printer.say(f"{where}{change}", what=change.what, outcome=change.outcome, **more)


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


def _grafana(url: str, token_file: Path, school: School | None) -> Grafana:
    from dashboards.grafana import Grafana

    token = _secret(_file_of(token_file, school))
    try:
        return Grafana(url, token, school)
    except ValueError as error:
        raise UsageError(f"--url: {error}") from error


def _is_embedded(config: PlumewatchConfig, store: str | None) -> bool:
    return store == "embedded" or (store is None and not config.timeseries.url)


def _schools(
    config: PlumewatchConfig, wanted: list[str] | None, store: str | None
) -> Sequence[School | None]:
    """Return the schools of --site; without it None, for dashboards of all."""
    if not wanted:
        return [None]
    if not _is_embedded(config, store):
        raise UsageError(
            "--site: an InfluxDB cannot be divided by school, since whoever reads the database"
            " reads all of it; use --store embedded, whose tokens read one school"
        )
    known = {school.id: school for school in config.registry().sites.values()}
    if len(known) < 2:
        raise UsageError("--site: there is one school; leave this option out")
    if unknown := sorted({*wanted} - {*known, "*"}):
        raise UsageError(f"--site {', '.join(unknown)}: one of *, {', '.join(known)}")
    return [school for name, school in known.items() if name in wanted or "*" in wanted]


def _file_of(path: Path, school: School | None) -> Path:
    return path / school.id if school and path.is_dir() else path


def _settings(
    config: PlumewatchConfig, store: str | None, school: School | None, *, influxdb3: bool
) -> DashboardSettings:
    from dashboards.frame import DashboardSettings

    registry = config.registry()
    if school:
        registry = registry.within({school.name})
    sensors = tuple((sensor.id, sensor.room) for sensor in registry.sensors.values())
    return DashboardSettings(
        zone=school.zone if school else config.timezone,
        page_url=config.web.url,
        docs_url=config.web.docs_url.rstrip("/"),
        rooms=tuple(registry.rooms),
        sensors=sensors,
        influxdb3=influxdb3,
        embedded=_is_embedded(config, store),
        names=room_names(
            (r.id, r.name, r.floor, r.building if school else r.whole_building)
            for r in registry.rooms.values()
        ),
        whole="whole district" if len(registry.sites) > 1 else "whole school",
        site=school,
    )


def _policies(*, influxdb3: bool) -> tuple[str, ...]:
    from dashboards.queries import POLICIES

    return POLICIES if influxdb3 else ("",)


def _secret(path: Path) -> str:
    try:
        text = path.read_text(encoding="utf-8").strip()
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: must contain text, the token or password") from error
    if not text or not text.isascii() or len(text.split()) != 1:
        raise UsageError(f"{path}: must contain one word, the token or password")
    return text


def _source(
    site: Site, reader_file: Path, store: str | None, school: School | None, person: str
) -> DataSource:
    from dashboards.grafana import DataSource

    config, series = site.config, site.config.timeseries
    if _is_embedded(config, store):
        _check_token(site, reader_file, school, person)
        secret = _secret(reader_file)
        return DataSource(config.web.url, "", "", secret, embedded=True, site=school)
    if not series.url:
        raise UsageError("timeseries.url is not set: dashboards need an InfluxDB")
    user, password = f"{series.database}_reader", _secret(reader_file)
    return DataSource(series.url.rstrip("/"), series.database, user, password)


def _check_token(site: Site, path: Path, school: School | None, person: str) -> None:
    """Make the token of a school if there is none; `UsageError` for one that Grafana cannot use."""
    from alerts.access import api_tokens
    from plumewatch.cli.people import make_token
    from storage.files import write_private

    only = api_tokens.Scope.READINGS
    if school and person and not path.exists():
        token = make_token(site, "Grafana", person, [only.value], _TOKEN_DAYS, [school.id])
        write_private(path, f"{token}\n".encode())
        return
    secret = _secret(path)
    if school is None and not site.paths.state.exists():
        return  # the service runs on another machine
    with site.read(site.paths.state) as db:
        found = api_tokens.find(db, secret)
    is_usable = found is not None and found.expires_at > time.time() and only in found.scopes
    roles = site.config.roles()
    if found and found.person in roles:
        is_usable &= only in api_tokens.usable(roles[found.person])
    if school and found:
        is_usable &= found.sites == frozenset({school.name}) and found.scopes == {only}
    if not is_usable:
        of, option = (f" of {school.name}", f" --site {school.id}") if school else ("", "")
        raise UsageError(
            f"{path}: not a token that only reads the series{of}, or it has expired; make one with"
            f" `plumewatch token add Grafana --person PERSON --scope readings{option}`"
        )


def _annotations(site: Site, since: float) -> list[Annotation]:
    from alerts.outbound.grafana_annotations import incident_annotations

    if not site.paths.state.exists():
        return []
    with site.read(site.paths.state) as db:
        rooms = site.config.registry().rooms
        return incident_annotations(db, rooms, site.config.web.url, since)
