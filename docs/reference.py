"""Generate the reference tables in the docs from the code: settings, metrics, commands.

A setting's description is the string below it in its class; allowed values and defaults come from
pydantic. The metrics table lists everything that `/metrics` returns once each counter is nonzero.
"""

from __future__ import annotations

import ast
import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, cast

import typer
from pydantic import BaseModel

from plumewatch.cli.main import app
from plumewatch.cli.options import EXIT_CODES
from plumewatch.config import model as config
from plumewatch.config.sections import (
    alerts,
    broker,
    duty,
    ingest,
    staff,
    storage,
    web,
)
from tests.support.health_parts import Parts

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

Schema = dict[str, Any]

_MODULES: Final = (config, web, staff, duty, alerts, ingest, storage, broker)
_CLASSES: Final = {
    found.__name__: found
    for module in _MODULES
    for found in vars(module).values()
    if isinstance(found, type) and issubclass(found, BaseModel)
}
_ELSEWHERE: Final = {"mapping": "mappings.md#keys"}
"""Sections whose keys are listed on their own page; a test compares that page with the code."""
_WRITTEN: Final = {".sites": "site"}
"""Keys whose name in a configuration differs from the field name in the class."""


# ---- settings


def read_examples(epilog: str) -> list[str]:
    """Extract a command's examples from the end of its help."""
    return [line.strip() for line in epilog.split("\n\n")[1:-1]]


def _read_sentences() -> dict[tuple[str, str], str]:
    """Return the sentence below each field of each class, by class and field."""
    found: dict[tuple[str, str], str] = {}
    for module in _MODULES:
        for node in ast.parse(inspect.getsource(module)).body:
            if not isinstance(node, ast.ClassDef):
                continue
            for field, after in zip(node.body, node.body[1:], strict=False):
                if isinstance(field, ast.AnnAssign) and isinstance(after, ast.Expr):
                    said = ast.literal_eval(after.value)
                    found[node.name, ast.unparse(field.target)] = " ".join(said.split())
    return found


_SENTENCES: Final = _read_sentences()


def _describe(model: type[BaseModel], key: str) -> str:
    """Return the description of a key; `KeyError` if its class has none below it."""
    for name, field in model.model_fields.items():
        if key in (name, field.alias):
            for owner in model.__mro__:
                if (owner.__name__, name) in _SENTENCES:
                    return _SENTENCES[owner.__name__, name]
    raise KeyError(f"{model.__name__}.{key} has no description")


def make_settings() -> list[str]:
    """Make a section for each table of the configuration, with a row for each key."""
    root = config.PlumewatchConfig.model_json_schema()
    return list(_make_section("", "", root, root["$defs"], frozenset()))[:-1]


def _make_section(
    path: str, brackets: str, schema: Schema, defs: Mapping[str, Schema], above: frozenset[str]
) -> Iterator[str]:
    name = schema["title"]
    model = _CLASSES[name]
    yield from (f"## `{brackets}`", "") if path else ("## Top level", "")
    below: list[Iterator[str]] = []
    about = (inspect.getdoc(model) or "").splitlines()[0] if path else ""
    if about:
        yield from (about, "")
    yield from ("| key | meaning | values | default |", "|---|---|---|---|")
    own = model.__annotations__
    for key, written in sorted(schema["properties"].items(), key=lambda item: item[0] not in own):
        value = _resolve(written, defs)
        table, several = _find_table(value, defs)
        said = _describe(model, key)
        shown = _WRITTEN.get(f"{path}.{key}", key)
        inner = f"{path}.{shown}".lstrip(".")
        if table is not None and key not in _ELSEWHERE:
            if table["title"] not in above | {name}:
                marks = f"[[{inner}]]" if several else f"[{inner}]"
                below.append(_make_section(inner, marks, table, defs, above | {name}))
            continue
        may_be = (
            f"[tables]({_ELSEWHERE[key]})" if key in _ELSEWHERE else _describe_type(value, defs)
        )
        yield f"| `{shown}` | {said} | {may_be} | {_format_default(key, written, schema, table)} |"
    yield ""
    for section in below:
        yield from section


def _resolve(schema: Schema, defs: Mapping[str, Schema]) -> Schema:
    """Return a schema without references, and without the null of optional values."""
    if "anyOf" in schema:
        (schema,) = [one for one in schema["anyOf"] if one.get("type") != "null"]
    if "$ref" in schema:
        return defs[schema["$ref"].rsplit("/", 1)[1]]
    return schema


def _find_table(value: Schema, defs: Mapping[str, Schema]) -> tuple[Schema | None, bool]:
    """Return the table schema of a value or of its items, and whether it is a list."""
    if "properties" in value:
        return value, False
    entry = _resolve(value["items"], defs) if value.get("type") == "array" else {}
    return (entry, True) if "properties" in entry else (None, False)


def _describe_type(value: Schema, defs: Mapping[str, Schema]) -> str:
    kind = value.get("type")
    if "enum" in value:
        return ", ".join(f"`{one}`" for one in value["enum"] if one)
    if kind == "boolean":
        return "`true`, `false`"
    if kind in ("integer", "number"):
        whole = "integer, " if kind == "integer" else ""
        return f"{whole}{_format_number(value['minimum'])} to {_format_number(value['maximum'])}"
    if kind == "array":
        most = f" (at most {value['maxItems']})" if "maxItems" in value else ""
        return f"list{most}: {_describe_type(_resolve(value['items'], defs), defs)}"
    if kind == "object":
        inner = _describe_type(_resolve(value["additionalProperties"], defs), defs)
        return f"table of {inner}"
    return _describe_text(value)


def _describe_text(value: Schema) -> str:
    named = {"path": "path", "date": "date", "date-time": "date and time"}.get(value.get("format"))
    if named:
        return named
    if "pattern" in value:
        pattern = value["pattern"].replace("|", "\\|")
        return f"text matching `{pattern}`"
    return f"text, up to {value['maxLength']} characters" if "maxLength" in value else "text"


def _format_default(key: str, written: Schema, schema: Schema, table: Schema | None) -> str:
    if key in schema.get("required", ()):
        return "required"
    value = written.get("default")
    if table is not None or value in (None, "", [], {}):
        return ""
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{_format_number(value)}`" if isinstance(value, int | float) else f"`{value}`"


def _format_number(value: float) -> str:
    return f"{value:.0f}" if float(value).is_integer() else f"{value:g}"


# ---- metrics


def make_metrics() -> list[str]:
    """Make a row for each metric of `/metrics`."""
    parts = Parts(Path("nowhere"))
    rows = []
    for meter in parts.meters.meters:
        if meter.name:
            labels = ", ".join(f"`{label}`" for label in meter.labels)
            kind = meter.kind + ", continues" * meter.continues
            rows.append(f"| `{meter.metric}` | {kind} | {labels} | {meter.help} |")
    return ["| metric | kind | labels | meaning |", "|---|---|---|---|", *rows]


# ---- commands

_EVERYWHERE: Final = ("--config", "--json")
"""Options described once, at the top of the page."""


def make_commands() -> list[str]:
    """Make a section for each command, with its arguments and options."""
    root = cast("Any", typer.main.get_command(app))
    return list(_make_command("plumewatch", root))[:-1]


def _make_command(called: str, command: Any) -> Iterator[str]:
    inner = getattr(command, "commands", {})
    if not inner or (called != "plumewatch" and command.invoke_without_command):
        shown = [p for p in command.params if not p.hidden and p.opts[0] not in _EVERYWHERE]
        yield from (f"## {called}", "", inspect.cleandoc(command.help or ""), "")
        if shown:
            yield from ("| option | meaning | default |", "|---|---|---|")
            yield from (_make_parameter(param) for param in shown)
            yield ""
        if command.epilog:
            yield from ("```sh", *read_examples(command.epilog), "```", "")
            if not command.epilog.endswith(EXIT_CODES):
                yield from (command.epilog.split("\n\n")[-1], "")
    for name, found in inner.items():
        if not found.hidden:
            yield from _make_command(f"{called} {name}", found)


def _format_argument(param: Any) -> str:
    name = str(param.name).upper() + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _make_parameter(param: Any) -> str:
    option = param.opts[0].startswith("-")
    named = ", ".join(f"`{opt}`" for opt in (*param.opts, *param.secondary_opts))
    named = named if option else f"`{_format_argument(param)}`"
    help_text = " ".join((param.help or "").split()).replace("|", "\\|")
    value = param.default
    default = "required" if param.required else ""
    if not param.required and value not in (None, "", False, (), []) and not callable(value):
        default = f"`{value}`"
    return f"| {named} | {help_text} | {default} |"


# ---- what is kept for how long; decisions

_BY_HAND: Final = "`plumewatch retention --apply`"


def make_retention() -> list[str]:
    """Make a row for each kind of data: its default retention, and who deletes it."""
    series, service = storage.TimeseriesConfig(), "the service, or the InfluxDB"
    incident_days = storage.RetentionConfig().incident_days
    rows = [
        ("readings", "timeseries.raw_days", series.raw_days, service),
        (
            "1-minute averages, sensor health",
            "timeseries.minute_days",
            series.minute_days,
            service,
        ),
        (
            "15-minute averages, events",
            "timeseries.quarter_hour_days",
            series.quarter_hour_days,
            service,
        ),
        ("journal", "journal.keep_days", storage.JournalConfig().keep_days, "the service"),
        (
            "incidents with notices and answers",
            "retention.incident_days",
            incident_days,
            _BY_HAND,
        ),
    ]
    return [
        "| what | kept for | setting | deleted by |",
        "|---|---|---|---|",
        *(f"| {what} | {days:,.0f} days | `{key}` | {by} |" for what, key, days, by in rows),
        "| audit log, threshold adjustments | forever | | nobody |",
    ]


def make_decisions() -> list[str]:
    """Make a line for each decision record."""
    folder = Path(__file__).parent / "decisions"
    titles = {path.name: path.read_text("utf-8").splitlines()[0] for path in folder.glob("0*.md")}
    return [f"- [{title.removeprefix('# ')}]({name})" for name, title in sorted(titles.items())]
