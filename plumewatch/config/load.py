"""Read a configuration file (TOML) into frozen models, and report all its faults at once.

If keys have a wrong type or are out of bounds, the tables around them are still built from their
valid keys (`Draft`), so that the checks between entries can run too.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar, get_args, get_origin

from pydantic import BaseModel, TypeAdapter, ValidationError

from language.plain_text import suggest_name
from language.value_errors import describe_allowed
from plumewatch.config.checks import find_cross_faults
from plumewatch.config.draft import Draft
from plumewatch.config.faults import ConfigError, ConfigFault, suggest_access
from plumewatch.config.model import DATA_DIR, PlumewatchConfig
from plumewatch.config.sites import join_sites, normalize, read_toml

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from plumewatch.config.faults import ConfigTree

_FORMS: Final = {
    "notify": '[{ url_file = "secrets/phone" }]',
    "quiet_hours": '[{ start = "22:00", end = "06:00" }]',
}
"""The right form of lists that people often write as text."""
_Model = TypeVar("_Model", bound=BaseModel)


def load(path: Path) -> PlumewatchConfig:
    """Read and check a file, with paths relative to its folder; `ConfigError` lists all faults."""
    try:
        tree = read_toml(path)
    except OSError as error:
        value = error.strerror or "unreadable"
        allowed = suggest_access(path, error) or "name a TOML file: --config FILE"
        if isinstance(error, FileNotFoundError):
            allowed = (
                "run `plumewatch setup` (finds sensors) or `plumewatch init` (writes a template),"
                " or name the file: --config FILE"
            )
        raise ConfigError([ConfigFault(str(path), value, allowed)]) from error
    base = path.resolve().parent
    return parse(join_sites(tree, base), base=base)


def parse(tree: Mapping[str, Any], *, base: Path) -> PlumewatchConfig:
    """Check parsed TOML, with paths relative to `base`; `ConfigError` lists all faults."""
    tree = normalize(tree)
    tree.setdefault("data_dir", str(DATA_DIR))  # the default is relative to `base` too
    faults = list(tree.faults)
    if tree.has_unread_table:  # its missing entries would cause misleading faults
        raise ConfigError(faults, tree)
    try:
        draft = Draft(PlumewatchConfig.model_validate(tree, context=base))
    except ValidationError as error:
        errors = error.errors(include_url=False)
        faults += (_build_fault(e, tree) for e in errors)
        draft = Draft.from_config(
            _build_valid_part(PlumewatchConfig, tree, base), [e["loc"] for e in errors]
        )
    draft.config.set_tree(tree)
    faults += find_cross_faults(draft)
    if faults:
        raise ConfigError(faults, tree)
    return draft.config


def _build_valid_part(model: type[_Model], table: object, base: Path) -> _Model:
    """Build a table from its valid keys; other keys get their default, None, or an empty list."""
    keys = table if isinstance(table, dict) else {}
    values: dict[str, Any] = {}
    for name, field in model.model_fields.items():
        key = field.alias or name
        if key in keys:
            try:
                values[key] = _make_adapter(model, name).validate_python(keys[key], context=base)
            except ValidationError:
                values |= _build_valid_tables(key, field.annotation, keys[key], base)
        if key not in values and field.is_required():
            values[key] = [] if get_origin(field.annotation) is list else None
    return model.model_construct(**values)


@cache
def _make_adapter(model: type[BaseModel], name: str) -> TypeAdapter[Any]:
    annotation: Any = model.model_fields[name].rebuild_annotation()
    return TypeAdapter(annotation)


def _build_valid_tables(key: str, annotation: Any, value: object, base: Path) -> dict[str, Any]:
    inner = _find_model(annotation)
    if inner is None:
        return {}
    if get_origin(annotation) is not list:
        return {key: _build_valid_part(inner, value, base)}
    tables = value if isinstance(value, list) else []
    return {key: [_build_valid_table(inner, table, base) for table in tables]}


def _build_valid_table(model: type[_Model], table: object, base: Path) -> _Model:
    try:
        return model.model_validate(table, context=base)
    except ValidationError:
        return _build_valid_part(model, table, base)


def _list_keys(path: tuple[int | str, ...]) -> list[str]:
    model: type[BaseModel] | None = PlumewatchConfig
    for name in path:
        if isinstance(name, str) and model is not None:
            fields = {field.alias or key: field for key, field in model.model_fields.items()}
            model = _find_model(fields[name].annotation) if name in fields else None
    return [field.alias or key for key, field in model.model_fields.items()] if model else []


def _find_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((m for inner in get_args(annotation) if (m := _find_model(inner))), None)


def _build_fault(error: Any, tree: ConfigTree) -> ConfigFault:
    path = ".".join(map(str, error["loc"])) or "(top level)"
    path = "district" if path == "site" and tree.is_district else path
    kind, value = error["type"], repr(error["input"])[:80]
    if kind == "extra_forbidden":
        name, known = str(error["loc"][-1]), _list_keys(error["loc"][:-1])
        near = suggest_name(name, known)
        if f"{name}_file" in known:
            near = f"; write the value into a file, and name the file: {name}_file"
        return ConfigFault(path, "unknown key", f"see docs/settings.md for all keys{near}")
    if kind == "missing" and path in ("room", "sensor"):
        allowed = f"there must be at least one: [[{path}]], or a line of sensors.csv next to it"
        return ConfigFault(path, "missing", f"{allowed} (docs/district.md)")
    key = next((part for part in reversed(error["loc"]) if isinstance(part, str)), "")
    if kind in ("list_type", "model_type") and key in _FORMS:
        value = "text" if key == "notify" else value  # it may be a secret address
        what = "a list" if kind == "list_type" else "a list of tables"
        return ConfigFault(path, value, f"must be {what}, such as {key} = {_FORMS[key]}")
    if kind == "list_type" and isinstance(error["input"], dict) and "." not in path:
        return ConfigFault(path, f"[{path}]", f"did you mean [[{path}]]?")
    return ConfigFault(path, "missing" if kind == "missing" else value, describe_allowed(error))
