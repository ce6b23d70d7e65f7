"""Test that imported packages are declared, and that required packages are used."""

import ast
import re
import sys
import tomllib
from importlib.metadata import packages_distributions
from itertools import chain
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
PRODUCT = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
EXTRAS = PROJECT["project"]["optional-dependencies"]
NOT_SHIPPED = {"babel", "sensirion-gas-index-algorithm"}
"""Packages that only modules outside the wheel import, or that are optional."""
CHOSEN = ("aiomqtt", "numpy", "scipy", "influxdb-client", "grafana-api", "apprise")


def names(requirements):
    return {re.split(r"[\[<>=]", text, maxsplit=1)[0] for text in requirements}


def imported(folders):
    """Return the installed distributions that modules in these folders import."""
    modules = set()
    for path in chain.from_iterable((ROOT / folder).rglob("*.py") for folder in folders):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                modules.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.level == 0:
                modules.add(node.module)
    tops = {module.partition(".")[0] for module in modules} - sys.stdlib_module_names
    known = packages_distributions()
    others = {top for top in tops if not (ROOT / top).is_dir()}
    return {name.lower().replace("_", "-") for top in others for name in known.get(top, ())}


RUNNING = names(
    chain(
        PROJECT["project"]["dependencies"], *(EXTRAS[extra] for extra in EXTRAS if extra != "dev")
    )
)


@pytest.fixture(scope="module")
def product():
    return imported(PRODUCT)


def test_what_product_code_imports_is_declared(product):
    assert product - NOT_SHIPPED <= RUNNING


@pytest.mark.parametrize("package", CHOSEN)
def test_a_package_of_the_owners_choice_is_declared_and_in_use(product, package):
    assert package in RUNNING & product


def test_the_tests_are_those_of_pytest():
    assert "pytest" in names(EXTRAS["dev"]) & imported(["tests"])
