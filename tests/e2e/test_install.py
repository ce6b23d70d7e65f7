"""Test the ways to install: the wheel, the unit and the script."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import venv
import zipfile
from pathlib import Path

import pytest

from tests.support.once import made_once
from tests.support.root import CommandError, Root
from tests.support.service import demo_takes_readings

ROOT = Path(__file__).parents[2]
UNIT = ROOT / "deploy/plumewatch.service"
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PACKAGES = PROJECT["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
SITE = sysconfig.get_path("purelib")
OFFLINE = {"PYTHONPATH": SITE, "PIP_NO_INDEX": "1", "PIP_NO_DEPS": "1", "PIP_FIND_LINKS": ""}
EXPOSURE = 1.5
"""Maximum score of `systemd-analyze security`; 10 is a service without any limits."""


def build_wheel(folder, source=ROOT, **options):
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index"]
    command += ["--no-build-isolation", "--wheel-dir", str(folder), str(source)]
    environment = os.environ | {"PIP_FIND_LINKS": ""}
    subprocess.run(command, check=True, env=environment, timeout=100, **options)


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder, _ = made_once(tmp_path_factory, "wheel", build_wheel)
    return next(folder.glob("plumewatch-*.whl"))


def test_a_wheel_built_elsewhere_from_the_same_files_is_the_same_to_the_byte(wheel, tmp_path):
    source, built = tmp_path / "source", tmp_path / "built"
    for package in PACKAGES:
        skipped = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / package, source / package, ignore=skipped, copy_function=shutil.copy)
    for name in ("pyproject.toml", "README.md", "LICENSE", ".gitignore"):
        shutil.copy(ROOT / name, source)
    build_wheel(built, source, umask=0o077)
    assert (built / wheel.name).read_bytes() == wheel.read_bytes()


def test_the_wheel_has_every_file_of_the_packages_and_nothing_else(wheel):
    ignored = {"__pycache__"}
    there = {
        str(path.relative_to(ROOT))
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and not ignored & {part.name for part in path.parents}
    }
    with zipfile.ZipFile(wheel) as packed:
        names = {name for name in packed.namelist() if ".dist-info/" not in name}
    assert names == there - {"language/catalog.py", "language/es.po"}
    assert {"detection/model.npz", "alerts/page/static/page.css", "language/es.mo"} <= names


def test_the_wheel_runs_the_demo_from_an_environment_of_its_own(wheel, tmp_path):
    home = tmp_path / "venv"
    venv.create(home, symlinks=True)
    python = home / "bin/python"
    install = [sys.executable, "-m", "pip", "--python", str(python), "install", "--quiet"]
    environment = os.environ | OFFLINE
    subprocess.run([*install, str(wheel)], check=True, env=environment | {"PYTHONPATH": ""})
    where = "import plumewatch, detection; print(plumewatch.__file__, detection.__file__)"
    found = subprocess.run(
        [python, "-c", where],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert all(path.startswith(str(home)) for path in found.stdout.split()), found
    program = home / "bin/plumewatch"
    output = subprocess.run(
        [program, "--version"], env=environment, capture_output=True, text=True, check=True
    )
    assert re.match(r"plumewatch \S+ \(detector model \S+\)", output.stdout), output
    demo_takes_readings(program, env=environment, cwd=tmp_path)


@pytest.mark.needs("systemd-analyze")
def test_systemd_accepts_the_unit_and_rates_it_secure(tmp_path):
    known = tmp_path / "plumewatch.service"
    known.write_text(
        UNIT.read_text().replace("/opt/plumewatch/current/bin/plumewatch", "/bin/true")
    )
    checked = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", known],
        capture_output=True,
        text=True,
        check=False,
    )
    ours = [line for line in checked.stderr.splitlines() if "plumewatch.service" in line]
    assert (checked.returncode, ours) == (0, [])
    output = subprocess.run(
        ["systemd-analyze", "security", "--offline=true", "--no-pager", str(UNIT)],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    exposure = re.search(r"exposure level for plumewatch.service: ([\d.]+)", output)
    assert exposure, output
    assert float(exposure[1]) <= EXPOSURE, output
    assert "WatchdogSec=" in UNIT.read_text()


@pytest.mark.needs("systemd-analyze")
def test_the_program_works_within_the_limits_of_the_unit(tmp_path):
    confined = [sys.executable, "-m", "tests.support.confined", str(UNIT), sys.executable]

    def within(*arguments):
        done = subprocess.run(
            [*confined, *arguments],
            check=False,
            cwd=ROOT,
            capture_output=True,
            text=True,
            stdin=subprocess.DEVNULL,
            timeout=120,
        )
        return done.returncode, done.stdout + done.stderr

    code, output = within("-c", "import os; os.setuid(0)")
    if "libseccomp" in output or "Invalid argument" in output:
        pytest.skip("needs libseccomp and a kernel that has it")
    assert (code, "PermissionError" in output) == (1, True), output  # the limits are in effect
    demo_takes_readings(*confined, "-m", "plumewatch", cwd=ROOT)
    # reports and pictures need low-priority processes, native libraries and threads
    libraries = "polars, typst, xlsxwriter, argon2, re2, scipy.signal"
    work = f"import os, {libraries}; os.nice(10); argon2.PasswordHasher().hash('x')"
    assert within("-c", work) == (0, "")


def test_the_script_installs_once_explains_refusals_and_preserves_local_changes(wheel, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        root = Root(Path("/"))
    except (subprocess.CalledProcessError, OSError):
        pytest.skip("needs the right to mount")
    try:
        root.env |= OFFLINE
        root.copy(wheel, f"/root/{wheel.name}")
        script = f"sh {ROOT}/deploy/install.sh"
        install = f"{script} --no-start --python {sys.executable} --wheel /root/{wheel.name}"
        for wrong, words in (
            ("--color", "unknown option --color"),
            ("--purge", "--purge requires --uninstall"),
            ("--no-start --python /bin/false", "/bin/false is"),
            ("--no-start --wheel /root/none.whl", "none.whl not found"),
        ):
            assert words in root.run(f"{script} {wrong}", may_fail=True)
        root.run("rm -rf /run/systemd/system && test ! -e /opt/plumewatch/current")
        assert "systemd is not running" in root.run(script, may_fail=True)

        for folder in (
            SITE,
            sys.base_prefix,
            str(ROOT),
        ):  # the overlay's path, which may be in /root
            root.run(f"d={folder}; while [ $d != / ]; do chmod a+rx $d; d=$(dirname $d); done")
        root.run(f"chmod 0700 {sys.base_prefix}")
        assert "cannot run" in root.run(install, may_fail=True)
        root.run(f"test ! -e /opt/plumewatch/current && chmod 0755 {sys.base_prefix}")
        assert "installed plumewatch" in root.run(install)
        assert "is already installed" in root.run(install)
        assert root.run("PATH=/usr/bin:/bin /usr/local/bin/plumewatch --version")  # as in cron
        made = "/etc/plumewatch/plumewatch.toml /etc/plumewatch/secrets /var/lib/plumewatch"
        assert root.run(f"stat -c '%a %U %G' {made}").splitlines() == [
            "640 root plumewatch",
            "2750 root plumewatch",
            "700 plumewatch plumewatch",
        ]
        assert 'data_dir = "/var/lib/plumewatch"' in root.run("cat /etc/plumewatch/plumewatch.toml")
        root.run("echo '# of the school' >> /etc/plumewatch/plumewatch.toml")
        root.run("touch /var/lib/plumewatch/journal.db")
        broken = wheel.name.replace("plumewatch-", "plumewatch-9.9.")
        root.run(f"printf broken > /root/{broken}")
        assert "is not a wheel" in root.run(install.replace(wheel.name, broken), may_fail=True)
        assert root.run("plumewatch --version").startswith("plumewatch ")  # unchanged
        assert "kept" in root.run(f"{script} --no-start --uninstall")
        root.run("test ! -e /opt/plumewatch && test ! -e /usr/local/bin/plumewatch")
        assert "# of the school" in root.run("cat /etc/plumewatch/plumewatch.toml")
        root.run("test -e /var/lib/plumewatch/journal.db")
        assert "the configuration and the data" in root.run(
            f"{script} --no-start --uninstall --purge"
        )
        left = "/etc/plumewatch /var/lib/plumewatch /opt/plumewatch"
        with pytest.raises(CommandError):
            root.run(f"ls -d {left} 2>/dev/null | grep . || id plumewatch")
    finally:
        root.close()
