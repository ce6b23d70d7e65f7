"""The Makefile, as far as it shows without a package index and a toolchain."""

import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest

MAKEFILE = Path(__file__).parents[2] / "Makefile"
ESPHOME = """#!/bin/sh
test "$1" = compile || exit 2
for name in $(sed -n 's/^  name: //p' "$2"); do
  mkdir -p .esphome/build/$name/.pioenvs/$name
  head -c 4096 /dev/zero > .esphome/build/$name/.pioenvs/$name/firmware.factory.bin
  printf '\\351\\1' >> .esphome/build/$name/.pioenvs/$name/firmware.factory.bin
done
"""
PLUMEWATCH = f"""#!/bin/sh
PYTHONPATH={MAKEFILE.parent} exec {sys.executable} -m plumewatch "$@"
"""


def test_nothing_is_installed_from_a_folder_together_with_a_lock_file():
    """The lock files hold hashes, a folder has none, and pip then refuses both."""
    lines = [line for line in MAKEFILE.read_text().splitlines() if "pip install" in line]
    from_folder = [line for line in lines if "--editable" in line]
    assert len(from_folder) == 2
    assert not [line for line in from_folder if ".lock" in line]


@pytest.fixture
def firmware(tmp_path):
    """Run ``make firmware`` for two devices; with a stand-in for ESPHome."""
    made = {"venv/bin/python": "", "venv/bin/plumewatch": PLUMEWATCH, "eh/bin/esphome": ESPHOME}
    made |= {"venv/.installed-demo": "", "eh/.installed": "", "devices/secrets.yaml": "a: b\n"}
    for device in ("n2-boys-1", "n2-girls-1"):
        made[f"devices/{device}.yaml"] = f"substitutions:\n  name: {device}\n"
    for name, text in made.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(0o755)
    (tmp_path / "Makefile").symlink_to(MAKEFILE)
    for name in (
        "requirements.lock",
        "requirements-sim.lock",
        "requirements-hardware.lock",
        "pyproject.toml",
    ):
        path = tmp_path / name
        path.touch()
        os.utime(path, (0, 0))
    paths = (f"DEVICES={tmp_path}/devices", "VENV=venv", "HARDWARE_VENV=eh")
    words = ("make", "firmware", *paths)
    ours = {k: v for k, v in os.environ.items() if not k.startswith(("MAKE", "MFLAGS"))}
    return partial(
        subprocess.run, words, cwd=tmp_path, env=ours, capture_output=True, text=True, check=False
    )


def test_one_command_makes_a_page_to_flash_each_device(firmware, tmp_path):
    assert firmware().returncode == 0
    pages = sorted((tmp_path / "build/firmware").iterdir())
    assert [page.name for page in pages] == ["n2-boys-1", "n2-girls-1"]
    for page in pages:
        manifest = json.loads((page / "manifest.json").read_text())
        (part,) = manifest["builds"][0]["parts"]
        assert manifest["name"] == page.name
        assert (page / part["path"]).stat().st_size == 4098


@pytest.mark.parametrize(
    ("file", "text", "sentence"),
    [
        (
            "eh/bin/esphome",
            "#!/bin/sh\necho 'Package download failed: no route. (attempt 4/5)'\nexit 1\n",
            "repeat this on a machine with internet access, where it is needed once",
        ),
        (
            "devices/secrets.yaml",
            'wifi_ssid: "FILL IN"\n',
            "name and password of the Wi-Fi",
        ),
        ("devices/n2-boys-1.yaml", "", "into the folder `devices` beside the configuration"),
    ],
)
def test_a_firmware_that_cannot_be_compiled_ends_with_what_to_do(
    firmware, tmp_path, file, text, sentence
):
    (tmp_path / file).write_text(text)
    if not text:
        for path in tmp_path.glob("devices/n2-*.yaml"):
            path.unlink()
    ran = firmware()
    assert ran.returncode != 0
    assert ran.stdout.splitlines()[-1].endswith(sentence)
    assert not list((tmp_path / "build/firmware").iterdir())
