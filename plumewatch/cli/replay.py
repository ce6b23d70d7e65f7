"""`plumewatch replay`: run recorded readings through the production path."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from language.plain_text import pluralize
from plumewatch.cli.options import OptionalConfig, Site, list_examples
from plumewatch.cli.printer import echo, show_progress
from plumewatch.errors import UsageError

app = typer.Typer()


@app.command(
    rich_help_panel="Simulation and history",
    epilog=list_examples(
        "plumewatch replay readings.csv.gz --alerts alerts.csv --events events.csv",
        "plumewatch replay monday.csv tuesday.csv --alerts alerts.csv --config plumewatch.toml",
    ),
)
def replay(
    readings: Annotated[list[Path], typer.Argument(help="Recorded readings, .csv or .csv.gz.")],
    *,
    alerts: Annotated[Path, typer.Option(help="File for the alerts (CSV).")],
    events: Annotated[Path | None, typer.Option(help="File for all events (CSV).")] = None,
    config: OptionalConfig = None,
) -> None:
    """Run recorded readings through the detector and alert rules, at the readings' own times."""
    from detection.quantities import FINE_PARTICLES
    from ingest.recordings import read_recordings
    from plumewatch.config.settings import build_alert_budgets
    from plumewatch.replay import build_replay_policy, write_alerts, write_events
    from plumewatch.replay import replay as replayed

    site = Site.load(config) if config else None
    missing = [path for path in readings if not path.is_file()]
    faults = [
        f"{p}: {'is a folder, not a file' if p.is_dir() else 'no such file'}" for p in missing
    ]
    folders = [path.parent for path in (alerts, events) if path is not None]
    faults += [
        f"{folder}: no such folder to write into" for folder in folders if not folder.is_dir()
    ]
    if faults:
        raise UsageError("\n".join(faults))
    school = None if site is None else site.config
    with show_progress("replaying", sum(path.stat().st_size for path in readings)) as update:
        result = replayed(
            read_recordings(readings, lambda n: update(advance=n)),
            policy=build_replay_policy(school),
            registry=None if school is None else school.build_registry(),
            budgets=None if school is None else build_alert_budgets(school),
        )
    write_alerts(alerts, result.alerts)
    if events is not None:
        write_events(events, result)
    counts = {"reading": result.readings, "event": len(result.events), "alert": len(result.alerts)}
    lines = [", ".join(pluralize(n, noun) for noun, n in counts.items())]
    if not result.has_particles and result.readings:
        columns = ", ".join(FINE_PARTICLES)
        lines.append(f"no particles in these files ({columns}), so vaping cannot be detected")
    if result.replaced:
        lines.append(f"{result.replaced} had future times and were moved between their neighbors")
    if result.skipped:
        lines.append(f"{result.skipped} skipped: not newer than the sensor's previous reading")
    echo("\n".join(lines), err=True)
