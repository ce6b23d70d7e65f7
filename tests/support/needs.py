"""Programs and packages that tests need but a machine may lack.

Mark a test or module with ``@pytest.mark.needs("mosquitto")``, or call ``need("mosquitto")`` in a
fixture that starts the program. At the end of a run, pytest lists the skipped tests and how to
install what they need.
"""

import importlib.util
import os
import shutil
from pathlib import Path

import pytest

from storage.repair import find_recovery_program

BROUGHT_BY = {
    "cc": "Debian: gcc libc6-dev",
    "chromedriver": "Debian: chromium-driver",
    "chromium": "Debian: chromium",
    "influxd": "Debian: influxdb",
    "java": "Debian: openjdk-21-jre-headless",
    "mosquitto": "Debian: mosquitto",
    "mosquitto_sub": "Debian: mosquitto-clients",
    "openssl": "Debian: openssl",
    "pdftotext": "Debian: poppler-utils",
    "pyspark": "make setup-scale",
    "sensirion_gas_index_algorithm": "make setup, with Debian: gcc python3-dev",
    "sqlite3": "Debian 13: sqlite3, whose .recover works",
    "systemd-analyze": "Debian: systemd",
}
_FIND = {
    "pyspark": importlib.util.find_spec,
    "sensirion_gas_index_algorithm": importlib.util.find_spec,
    "sqlite3": lambda _: find_recovery_program(),
}

_HERE = Path(__file__)
needs_another_user = pytest.mark.skipif(
    os.geteuid() != 0 or not all(folder.stat().st_mode & 0o001 for folder in _HERE.parents),
    reason="another user is needed: run as root, in a folder that all users can read",
)


def need(*names: str) -> None:
    """Skip the calling test or module if any of these is missing; with ``CI=true``, fail."""
    for name in names:
        package = BROUGHT_BY[name]
        if _FIND.get(name, shutil.which)(name):
            continue
        if os.environ.get("CI") == "true":
            pytest.fail(f"{name} is missing ({package})", pytrace=False)
        pytest.skip(f"{name} is missing ({package})", allow_module_level=True)
