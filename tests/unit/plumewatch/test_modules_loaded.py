"""Test that commands load only the modules that they need, which keeps startup fast."""

import subprocess
import sys

import pytest

LOADED = "import sys; print(*sorted({name.partition('.')[0] for name in sys.modules}))"
HELP = (
    "import contextlib, io, sys\n"
    "from plumewatch.cli.main import main\n"
    "sys.argv = ['plumewatch', '--help']\n"
    "with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):\n"
    "    main()\n"
)
SERVICE = "import plumewatch.service.app, plumewatch.service.run\n"
FOR_FILES = {"matplotlib", "polars", "xlsxwriter", "typst", "pandas", "pyarrow", "pyspark"}
OTHER_ROOMS = {"scale", "sensor_sim", "dashboards", "influxdb_client"}
LIBRARIES = {"numpy", "scipy", "pydantic", "apprise", "paho", "aiomqtt", "starlette", "jinja2"}


@pytest.mark.parametrize(
    ("program", "unwanted"),
    [(HELP, FOR_FILES | LIBRARIES | {"detection"}), (SERVICE, FOR_FILES | OTHER_ROOMS)],
    ids=["help", "service"],
)
def test_only_what_is_needed_is_loaded(program, unwanted):
    found = subprocess.run(
        [sys.executable, "-c", program + LOADED], capture_output=True, text=True, check=True
    )
    assert not unwanted & set(found.stdout.split())
