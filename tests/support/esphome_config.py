"""An ESPHome configuration as its makers merge it, and the topics under which it publishes."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

import yaml

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["Entity", "entities", "merged"]

_SUBSTITUTION = re.compile(r"\$\{(\w+)\}")
_COMPONENTS = ("sensor", "binary_sensor", "text_sensor")


class Entity(NamedTuple):
    """What publishes on a topic of its own."""

    component: str
    object_id: str
    unit: str


class _Loader(yaml.SafeLoader):
    folder: Path
    secrets: dict[str, str]


def _include(loader: _Loader, node: yaml.ScalarNode) -> Any:
    return _load(loader.folder / node.value, loader.secrets)


_Loader.add_constructor("!include", _include)
_Loader.add_constructor("!secret", lambda loader, node: loader.secrets[node.value])
_Loader.add_constructor("!extend", lambda _loader, node: f"extend {node.value}")


def _load(path: Path, secrets: dict[str, str]) -> Any:
    loader = _Loader(path.read_text(encoding="utf-8"))
    loader.folder, loader.secrets = path.parent, secrets
    try:
        return loader.get_single_data()
    finally:
        loader.dispose()


def merged(path: Path, secrets: dict[str, str]) -> dict[str, Any]:
    """Return a configuration with its packages merged and its substitutions made.

    A secret that is not in `secrets`, or a substitution without a value, raises `KeyError`.
    """
    tree = _load(path, secrets)
    values = tree.pop("substitutions")
    whole: dict[str, Any] = {}
    for part in (*tree.pop("packages").values(), tree):
        for key, value in part.items():
            whole[key] = _merge(whole.get(key), value)
    substituted: dict[str, Any] = _substitute(whole, values)
    return substituted


def _merge(old: Any, new: Any) -> Any:
    if isinstance(old, dict) and isinstance(new, dict):
        return {**old, **{key: _merge(old.get(key), value) for key, value in new.items()}}
    return old + new if isinstance(old, list) and isinstance(new, list) else new


def _substitute(tree: Any, values: dict[str, str]) -> Any:
    if isinstance(tree, dict):
        return {key: _substitute(value, values) for key, value in tree.items()}
    if isinstance(tree, list):
        return [_substitute(value, values) for value in tree]
    if isinstance(tree, str):
        return _SUBSTITUTION.sub(lambda found: str(values[found[1]]), tree)
    return tree


def entities(tree: dict[str, Any]) -> list[Entity]:
    """Return all entities that publish, in the order of the file."""
    found = []
    for component in _COMPONENTS:
        for block in tree.get(component, ()):
            for one in (block, *(value for value in block.values() if isinstance(value, dict))):
                if "name" in one and not one.get("internal"):
                    object_id = re.sub(r"[^a-z0-9_-]", "_", one["name"].lower())
                    unit = one.get("unit_of_measurement", "")
                    found.append(Entity(component, object_id, unit))
    return found
