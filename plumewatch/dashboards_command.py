"""``plumewatch dashboards``: Grafana dashboards into files, or into a Grafana."""

from __future__ import annotations

import sqlite3
import sys
from collections import Counter
from contextlib import closing
from typing import TYPE_CHECKING

from plumewatch.endings import DONE, REFUSED, UNREACHABLE, USAGE

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from dashboards.frame import DashboardSettings
    from dashboards.grafana import Change, DataSource, Grafana, Mark
    from plumewatch.config import PlumewatchConfig
    from plumewatch.printer import Printer

__all__ = ["run_build", "run_diff", "run_push"]

_NOT_INSTALLED = "the dashboards are an extra: pip install 'plumewatch[dashboards]'"


def run_build(out_dir: Path, config: Path | None, printer: Printer) -> int:
    """Write the files.

    Parameters
    ----------
    out_dir : Path
    config : Path, optional
        Whose time zone and staff page; without it those of the starter configuration.
    printer : Printer

    Returns
    -------
    int
        0 done, 2 the configuration or the folder does not do.
    """
    try:
        from dashboards.build import write  # noqa: PLC0415 - an extra
        from dashboards.frame import DashboardSettings  # noqa: PLC0415
    except ImportError:
        return _said(_NOT_INSTALLED, USAGE)
    loaded = None if config is None else _loaded(config)
    if config is not None and loaded is None:
        return USAGE
    settings = DashboardSettings() if loaded is None else _settings(loaded)
    try:
        written = write(out_dir, settings)
    except OSError as error:
        return _said(f"{out_dir}: {error.strerror}", USAGE)
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
    url : str
    token_file, config : Path
    printer : Printer
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
    loaded, server = _opened(url, token_file, config)
    if loaded is None or server is None:
        return USAGE
    from dashboards.build import built  # noqa: PLC0415 - an extra
    from dashboards.grafana import Refused, Unreachable  # noqa: PLC0415

    source, code = None, DONE
    if reader_file is not None:
        source = _source(loaded, reader_file)
        if source is None:
            return USAGE
    try:
        server.check()
        _tell(printer, server.data_source(source))
        for change in server.push(built(_settings(loaded))):
            _tell(printer, change)
        if days:
            since = now - 86_400.0 * days
            code = _annotated(printer, server.annotate(_marks(loaded, since), since, now))
    except Refused as error:
        return _said(str(error), REFUSED)
    except Unreachable as error:
        return _said(str(error), UNREACHABLE)
    except sqlite3.Error as error:
        return _said(f"incidents cannot be read: {error}", UNREACHABLE)
    return code


def _annotated(printer: Printer, changes: Iterable[Change]) -> int:
    """Say what came of annotations, and of each that was refused why; the exit code."""
    from dashboards.grafana import Change  # noqa: PLC0415 - an extra

    outcomes: Counter[str] = Counter()
    for change in changes:
        outcomes[change.outcome] += 1
        if change.outcome == "refused":
            _said(str(change), REFUSED)
    said = f"{outcomes['created']} new, {outcomes['changed']} changed, "
    said += f"{outcomes['unchanged']} as they were"
    if outcomes["refused"]:
        said += f", {outcomes['refused']} refused"
    outcome = next((o for o in ("refused", "created", "changed") if outcomes[o]), "unchanged")
    _tell(printer, Change("annotations of incidents", outcome, said))
    return REFUSED if outcomes["refused"] else DONE


def run_diff(url: str, token_file: Path, config: Path, printer: Printer) -> int:
    """Say what differs; nothing is written.

    Returns
    -------
    int
        0 nothing differs, 1 something does, 2 usage, 3 not reachable, or it refuses to be asked.
    """
    loaded, server = _opened(url, token_file, config)
    if loaded is None or server is None:
        return USAGE
    from dashboards.build import built  # noqa: PLC0415 - an extra
    from dashboards.grafana import GrafanaError  # noqa: PLC0415

    differs = False
    try:
        server.check()
        for change in server.compare(built(_settings(loaded))):
            differs |= change.outcome != "unchanged"
            _tell(printer, change)
    except GrafanaError as error:
        return _said(str(error), UNREACHABLE)
    return int(differs)


def _opened(
    url: str, token_file: Path, config: Path
) -> tuple[PlumewatchConfig | None, Grafana | None]:
    """Read configuration and token; None, and the reason said, where that does not work."""
    try:
        from dashboards.grafana import Grafana  # noqa: PLC0415 - an extra
    except ImportError:
        _said(_NOT_INSTALLED, USAGE)
        return None, None
    loaded = _loaded(config)
    token = _secret(token_file)
    if loaded is None or token is None:
        return None, None
    try:
        return loaded, Grafana(url, token)
    except ValueError as error:
        _said(f"--url: {error}", USAGE)
        return None, None


def _loaded(path: Path) -> PlumewatchConfig | None:
    from ingest.decoders import DECODERS  # noqa: PLC0415
    from plumewatch.config import ConfigError, load  # noqa: PLC0415

    try:
        return load(path, decoders=frozenset(DECODERS))
    except ConfigError as error:
        _said(str(error), USAGE)
        return None


def _settings(config: PlumewatchConfig) -> DashboardSettings:
    from dashboards.frame import DashboardSettings  # noqa: PLC0415
    from plumewatch.settings import page_url  # noqa: PLC0415

    registry = config.registry()
    sensors = tuple((sensor.id, sensor.room) for sensor in registry.sensors.values())
    return DashboardSettings(config.timezone, page_url(config), tuple(registry.rooms), sensors)


def _secret(path: Path) -> str | None:
    """Read a file of one line; None, and the reason said, if it holds none."""
    try:
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        _said(f"{path}: {error.strerror or error}", USAGE)
        return None
    except UnicodeDecodeError:
        _said(f"{path}: must hold text, the token or password", USAGE)
        return None
    if not text or not text.isascii() or len(text.split()) != 1:
        _said(f"{path}: must hold one word, the token or password", USAGE)
        return None
    return text


def _source(config: PlumewatchConfig, reader_file: Path) -> DataSource | None:
    from dashboards.grafana import DataSource  # noqa: PLC0415

    series = config.timeseries
    if not series.url:
        _said("timeseries.url is not set: dashboards need an InfluxDB", USAGE)
        return None
    password = _secret(reader_file)
    if password is None:
        return None
    return DataSource(
        series.url.rstrip("/"), series.database, f"{series.database}_reader", password
    )


def _marks(config: PlumewatchConfig, since: float) -> list[Mark]:
    """Incidents since a moment; none if the service has not run yet."""
    from plumewatch.incident_marks import incident_marks  # noqa: PLC0415
    from plumewatch.paths import DataPaths  # noqa: PLC0415
    from storage.sqlite import connect  # noqa: PLC0415

    database = DataPaths(config.data_dir).state
    if not database.exists():
        return []
    with closing(connect(database, read_only=True)) as db:
        return incident_marks(config, db, since)


def _said(sentence: str, code: int) -> int:
    sys.stderr.write(f"{sentence}\n")
    return code
