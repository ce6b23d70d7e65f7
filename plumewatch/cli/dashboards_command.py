"""``plumewatch dashboards``: Grafana dashboards into files, or into a Grafana."""

from __future__ import annotations

import sqlite3
from collections import Counter
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

from ingest.errors import RefusedError
from plumewatch.cli.exit_codes import DONE, UnreachableError, UsageError, told

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from alerts.outbound.grafana_annotations import Annotation
    from dashboards.frame import DashboardSettings
    from dashboards.grafana import Change, DataSource, Grafana
    from plumewatch.cli.printer import Printer
    from plumewatch.config.model import PlumewatchConfig

_NOT_INSTALLED = "the dashboards are an extra: pip install 'plumewatch[dashboards]'"


@told()
def run_build(out_dir: Path, config: Path | None, printer: Printer) -> int:
    """Write the files.

    Parameters
    ----------
    config : Path, optional
        Whose time zone and staff page; without it those of the starter configuration.

    Returns
    -------
    int
        0 done, 2 the configuration or the folder does not do.
    """
    try:
        from dashboards.build import write  # noqa: PLC0415 - an extra
        from dashboards.frame import DashboardSettings  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(_NOT_INSTALLED) from error
    settings = DashboardSettings() if config is None else _settings(_loaded(config))
    try:
        written = write(out_dir, settings)
    except OSError as error:
        raise UsageError(f"{out_dir}: {error.strerror}") from error
    for name, changed in written.items():
        outcome = "written" if changed else "unchanged"
        printer.say(f"{out_dir / name}: {outcome}", file=out_dir / name, outcome=outcome)
    printer.say(
        f"days and hours of {settings.zone}; links to {settings.page_url}",
        zone=settings.zone,
        page_url=settings.page_url,
    )
    return DONE


def _tell(printer: Printer, change: Change) -> None:
    detail = {"detail": change.detail} if change.detail else {}
    printer.say(str(change), what=change.what, outcome=change.outcome, **detail)


@told()
def run_push(
    url: str,
    token_file: Path,
    config: Path,
    printer: Printer,
    *,
    reader_file: Path | None,
    days: float,
    now: float,
) -> int:
    """Bring a Grafana to what the code says.

    Parameters
    ----------
    reader_file : Path, optional
        With it the data source is made too.
    days : float
        How far back incidents are written as annotations.
    now : float
        Unix seconds.

    Returns
    -------
    int
        0 done, 1 refused, 2 usage or configuration, 3 not reachable.
    """
    server = _opened(url, token_file)
    loaded = _loaded(config)
    source = None if reader_file is None else _source(loaded, reader_file)
    from dashboards.build import built  # noqa: PLC0415 - an extra

    with _translated():
        server.check()
        _tell(printer, server.data_source(source))
        for change in server.push(built(_settings(loaded))):
            _tell(printer, change)
        if days:
            since = now - 86_400.0 * days
            _annotate(printer, server.annotate(_annotations(loaded, since), since, now))
    return DONE


def _annotate(printer: Printer, changes: Iterable[Change]) -> None:
    """Say what comes of annotations.

    Raises
    ------
    RefusedError
        Some were refused: which, and why.
    """
    from dashboards.grafana import Change  # noqa: PLC0415 - an extra

    outcomes: Counter[str] = Counter()
    refused: list[str] = []
    for change in changes:
        outcomes[change.outcome] += 1
        if change.outcome == "refused":
            refused.append(str(change))
    said = f"{outcomes['created']} new, {outcomes['changed']} changed, "
    said += f"{outcomes['unchanged']} as they were"
    if refused:
        said += f", {len(refused)} refused"
    outcome = next((o for o in ("refused", "created", "changed") if outcomes[o]), "unchanged")
    _tell(printer, Change("annotations of incidents", outcome, said))
    if refused:
        raise RefusedError("\n".join(refused))


@told()
def run_diff(url: str, token_file: Path, config: Path, printer: Printer) -> int:
    """Say what differs; nothing is written.

    Returns
    -------
    int
        0 nothing differs, 1 something does, 2 usage, 3 not reachable, or it refuses to be asked.
    """
    server = _opened(url, token_file)
    loaded = _loaded(config)
    from dashboards.build import built  # noqa: PLC0415 - an extra
    from dashboards.grafana import GrafanaError  # noqa: PLC0415

    differs = False
    try:
        server.check()
        for change in server.compare(built(_settings(loaded))):
            differs |= change.outcome != "unchanged"
            _tell(printer, change)
    except GrafanaError as error:
        raise UnreachableError(str(error)) from error
    return int(differs)


def _opened(url: str, token_file: Path) -> Grafana:
    try:
        from dashboards.grafana import Grafana  # noqa: PLC0415 - an extra
    except ImportError as error:
        raise UsageError(_NOT_INSTALLED) from error
    token = _secret(token_file)
    try:
        return Grafana(url, token)
    except ValueError as error:
        raise UsageError(f"--url: {error}") from error


@contextmanager
def _translated() -> Iterator[None]:
    """Say in the words of commands what a Grafana says: refused, or not reachable."""
    from dashboards.grafana import Refused, Unreachable  # noqa: PLC0415 - an extra

    try:
        yield
    except Refused as error:
        raise RefusedError(str(error)) from error
    except Unreachable as error:
        raise UnreachableError(str(error)) from error


def _loaded(path: Path) -> PlumewatchConfig:
    from plumewatch.config.sharding import load_shard  # noqa: PLC0415

    return load_shard(path)


def _settings(config: PlumewatchConfig) -> DashboardSettings:
    from dashboards.frame import DashboardSettings  # noqa: PLC0415

    registry = config.registry()
    sensors = tuple((sensor.id, sensor.room) for sensor in registry.sensors.values())
    return DashboardSettings(config.timezone, config.web.url, tuple(registry.rooms), sensors)


def _secret(path: Path) -> str:
    """Read a file of one word."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"{path}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise UsageError(f"{path}: must hold text, the token or password") from error
    if not text or not text.isascii() or len(text.split()) != 1:
        raise UsageError(f"{path}: must hold one word, the token or password")
    return text


def _source(config: PlumewatchConfig, reader_file: Path) -> DataSource:
    from dashboards.grafana import DataSource  # noqa: PLC0415

    series = config.timeseries
    if not series.url:
        raise UsageError("timeseries.url is not set: dashboards need an InfluxDB")
    user, password = f"{series.database}_reader", _secret(reader_file)
    return DataSource(series.url.rstrip("/"), series.database, user, password)


def _annotations(config: PlumewatchConfig, since: float) -> list[Annotation]:
    """Incidents since a moment; none if the service has not run yet."""
    from alerts.outbound.grafana_annotations import incident_annotations  # noqa: PLC0415
    from plumewatch.config.paths import DataPaths  # noqa: PLC0415
    from storage.errors import StorageError  # noqa: PLC0415
    from storage.sqlite import connect  # noqa: PLC0415

    database = DataPaths(config.data_dir).state
    if not database.exists():
        return []
    try:
        with closing(connect(database, read_only=True)) as db:
            return incident_annotations(db, config.registry().rooms, config.web.url, since)
    except (StorageError, sqlite3.Error) as error:
        raise UnreachableError(f"incidents cannot be read: {error}") from error
