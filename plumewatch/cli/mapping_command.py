"""``plumewatch mapping``: suggest a mapping for an unknown device, and run the examples of all."""

from __future__ import annotations

import json
import tomllib
from typing import TYPE_CHECKING

from plumewatch.cli.exit_codes import DONE, REFUSED, USAGE

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from plumewatch.cli.printer import Printer

_MAX_FILE = 4_000_000


def samples_of(data: bytes) -> list[bytes]:
    r"""Payloads in a file: the whole if it is one JSON value or no text, else one a line.

    Examples
    --------
    >>> samples_of(b'{"a": 1}\n{"a": 2}\n'), samples_of(b'{\n"a": 1\n}\n')
    ([b'{"a": 1}', b'{"a": 2}'], [b'{\n"a": 1\n}'])
    """
    whole = data.strip(b"\r\n")
    try:
        json.loads(whole.decode("utf-8"))
    except UnicodeDecodeError:
        return [data]
    except (ValueError, RecursionError):
        lines = (line.strip(b"\r") for line in whole.split(b"\n"))
        return [line for line in lines if line.strip()]
    return [whole]


def run_suggest(
    topic: str,
    files: Sequence[Path],
    stdin: bytes | None,
    printer: Printer,
    *,
    name: str = "",
    config: Path | None = None,
    now: float,
) -> int:
    """Print a mapping for sample payloads or discovery messages.

    Parameters
    ----------
    topic : str
        Topic of the samples.
    files : sequence of Path
        Samples, one a line or one a file.
    stdin : bytes or None
        Samples instead of files.
    name : str
        Name of the mapping; made from the topic by default.
    config : Path, optional
        Configuration whose zone local times are in; UTC without.
    now : float
        Receive time of the samples, Unix seconds.

    Returns
    -------
    int
        0 done, 1 nothing is understood, 2 a file or the configuration cannot be read.
    """
    from ingest.decoders import find  # noqa: PLC0415 - keeps the command line fast to start
    from ingest.mapping.draft import SuggestError  # noqa: PLC0415
    from ingest.mapping.suggest_ha import suggest_any  # noqa: PLC0415
    from plumewatch.config.faults import ConfigError  # noqa: PLC0415
    from plumewatch.config.sharding import load_shard  # noqa: PLC0415

    zone = None
    samples = samples_of(stdin) if stdin is not None else []
    try:
        if config is not None:
            zone = load_shard(config).zone()
        for file in files:
            with file.open("rb") as opened:
                samples += samples_of(opened.read(_MAX_FILE))
    except OSError as error:
        printer.err.write(f"{error.filename}: {error.strerror}\n")
        return USAGE
    except ConfigError as error:
        printer.err.write(f"{error}\n")
        return USAGE
    try:
        where = {} if zone is None else {"zone": zone}
        text = suggest_any(topic, samples, received=float(round(now)), name=name, **where)
    except SuggestError as error:
        printer.err.write(f"no suggestion: {error}\n")
        return REFUSED
    known = find(topic) if topic else None
    if known is not None and known.name != "ha_discovery":
        printer.err.write(
            f"decoder {known.name!r} takes this topic already; a mapping would be asked first\n"
        )
    printer.say(text.removesuffix("\n"), **tomllib.loads(text))
    return DONE


def run_test(path: Path, printer: Printer) -> int:
    """Run the examples of all mappings of a configuration, one line a mapping.

    Returns
    -------
    int
        0 all pass, 1 one fails, 2 the configuration has faults.
    """
    from ingest.mapping.decoder import compile_mapping  # noqa: PLC0415
    from ingest.mapping.examples import differences  # noqa: PLC0415
    from plumewatch.config.faults import ConfigError  # noqa: PLC0415
    from plumewatch.config.sharding import load_shard  # noqa: PLC0415

    try:
        config = load_shard(path)
    except ConfigError as error:
        printer.err.write(f"{error}\n")
        return USAGE
    failed = False
    for i, mapping in enumerate(config.mapping):
        found = list(differences(compile_mapping(mapping), mapping.example, config.zone()))
        failed = failed or bool(found)
        for k, said in found:
            place = f"mapping.{i}.example.{k}"
            text = f"FAULT {mapping.name}: {place}: {said}"
            printer.say(text, mapping=mapping.name, ok=False, example=place, finding=said)
        if not found:
            count = len(mapping.example)
            text = f"ok    {mapping.name}: {count} examples pass"
            printer.say(text, mapping=mapping.name, ok=True, examples=count)
    if not config.mapping and not printer.as_json:
        printer.say(f"{path} has no [[mapping]]")
    return REFUSED if failed else DONE
