"""Commands about history: the journal as Parquet, and judging it again."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

import typer

from plumewatch.cli.commands.options import ForceOption, JsonOption, manual
from plumewatch.cli.printer import Printer

app = typer.Typer()


@app.command(
    epilog=manual(
        "plumewatch segments history --config plumewatch.toml",
        "plumewatch segments history --recording readings.csv.gz",
    )
)
def segments(
    history: Annotated[Path, typer.Argument(help="Folder; made if it is not there.")],
    config: Annotated[
        Path | None, typer.Option("--config", "-c", help="Whose journal; where sensors are.")
    ] = None,
    recording: Annotated[
        list[Path] | None,
        typer.Option("--recording", help="A .csv or .csv.gz instead; may be repeated."),
    ] = None,
    buckets: Annotated[
        int | None,
        typer.Option(
            "--buckets",
            min=1,
            max=4096,
            help="Of a new history; one a thousand sensors if left out.",
        ),
    ] = None,
    every: Annotated[
        float, typer.Option("--every", min=0, help="Go on, looking so often, s; 0 ends.")
    ] = 0.0,
    *,
    as_json: JsonOption = False,
) -> None:
    """Land accepted readings as Parquet, each once: for `backtest`, Spark, any other program."""
    from plumewatch.cli.segments_command import SegmentsOptions, run_segments  # noqa: PLC0415

    options = SegmentsOptions(history, config, recording or [], buckets, every)
    raise typer.Exit(run_segments(options, Printer(as_json=as_json)))


@app.command(
    epilog=manual(
        "plumewatch backtest history --budget 1 --budget 0.3 --out budgets.html",
        "plumewatch backtest history --model shipped --model new.npz --out models.html",
    )
)
def backtest(
    history: Annotated[list[Path], typer.Argument(help="Folders that `segments` wrote.")],
    out: Annotated[Path, typer.Option("--out", help="The page, HTML.")],
    model: Annotated[
        list[str] | None,
        typer.Option("--model", help="Model file, or shipped; may be repeated."),
    ] = None,
    budget: Annotated[
        list[float] | None,
        typer.Option("--budget", help="False alarms a sensor-week; may be repeated."),
    ] = None,
    kind: Annotated[
        list[str] | None, typer.Option("--kind", help="Kind of alert; vape if left out.")
    ] = None,
    alerts: Annotated[
        Path | None, typer.Option("--alerts", help="Where to write all alerts (CSV).")
    ] = None,
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Whose budgets, time zone and answers of staff."),
    ] = None,
    processes: Annotated[
        int | None, typer.Option("--processes", min=1, max=1024, help="One a core if left out.")
    ] = None,
    spark: Annotated[
        str, typer.Option("--spark", help="Master of a Spark cluster, such as local[2].")
    ] = "",
    *,
    force: ForceOption = False,
    as_json: JsonOption = False,
) -> None:
    """Judge history by versions of the detector, and compare what would have alerted."""
    from plumewatch.cli.backtest_command import BacktestOptions, run_backtest  # noqa: PLC0415

    options = BacktestOptions(
        models=model or [],
        budgets=budget or [],
        kinds=kind or ["vape"],
        out=out,
        alerts=alerts,
        processes=processes or os.cpu_count() or 1,
        spark=spark,
        force=force,
    )
    raise typer.Exit(run_backtest(history, config, options, Printer(as_json=as_json)))


@app.command(
    epilog=manual(
        "plumewatch stream history --checkpoint state --events events --master 'local[2]' --once",
        "plumewatch stream --kafka k1:9092 --config plumewatch.toml --checkpoint s --events e",
    )
)
def stream(
    history: Annotated[str, typer.Argument(help="Folder or URL that `segments` fills.")] = "",
    kafka: Annotated[
        str, typer.Option("--kafka", help="Servers instead, HOST:PORT,...; needs --config.")
    ] = "",
    topic: Annotated[str, typer.Option("--topic", help="Topic of Kafka.")] = "plumewatch",
    config: Annotated[
        Path | None,
        typer.Option("--config", "-c", help="Whose budgets, sensors, broker and InfluxDB."),
    ] = None,
    checkpoint: Annotated[
        str, typer.Option("--checkpoint", help="Folder or URL of state and position.")
    ] = "checkpoint",
    events: Annotated[
        Path, typer.Option("--events", help="Folder for what is said, as Parquet.")
    ] = Path("events"),
    shards: Annotated[
        int, typer.Option("--shards", min=1, max=100_000, help="One a thousand sensors or more.")
    ] = 8,
    model: Annotated[
        Path | None, typer.Option("--model", help="Model file instead of the shipped one.")
    ] = None,
    master: Annotated[
        str, typer.Option("--master", help="Of Spark; that of spark-submit if left out.")
    ] = "",
    seconds: Annotated[float, typer.Option("--seconds", min=0, help="Between triggers.")] = 3.0,
    files: Annotated[
        int | None, typer.Option("--files", min=1, help="Parts in one trigger at most.")
    ] = None,
    conf: Annotated[
        list[str] | None, typer.Option("--conf", help="KEY=VALUE of Spark; may be repeated.")
    ] = None,
    *,
    publish: Annotated[
        bool, typer.Option("--publish", help="Events to the configured broker too.")
    ] = False,
    series: Annotated[
        bool, typer.Option("--series", help="Readings to the configured InfluxDB too.")
    ] = False,
    once: Annotated[bool, typer.Option("--once", help="Judge what is there, and end.")] = False,
) -> None:
    """Detect on Spark: readings in, events out, each once; needs plumewatch[scale] and Java."""
    from plumewatch.cli.stream_command import StreamOptions, run_stream  # noqa: PLC0415

    options = StreamOptions(
        history=history,
        kafka=kafka,
        topic=topic,
        config_path=config,
        checkpoint=checkpoint,
        events=events,
        publish=publish,
        series=series,
        shards=shards,
        model=model,
        master=master,
        seconds=seconds,
        files=files,
        once=once,
        conf=conf or [],
    )
    raise typer.Exit(run_stream(options))
