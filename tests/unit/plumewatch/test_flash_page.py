"""A page that flashes a compiled firmware from the browser."""

import json
import stat

import pytest

from tests.support.command import plumewatch

IMAGE = b"\xff" * 0x1000 + b"\xe9" + bytes(100)


@pytest.fixture
def firmware(tmp_path):
    path = tmp_path / "n2-<boys>/firmware.factory.bin"
    path.parent.mkdir()
    path.write_bytes(IMAGE)
    return path


def test_the_manifest_names_the_complete_image(firmware, tmp_path):
    out = tmp_path / "flash"
    assert plumewatch("device", "flash-page", firmware, "--out", out).code == 0
    manifest = json.loads((out / "manifest.json").read_text())
    (build,) = manifest["builds"]
    assert (manifest["name"], build["chipFamily"]) == ("n2-<boys>", "ESP32")
    assert build["parts"] == [{"path": "firmware.bin", "offset": 0}]
    assert (out / "firmware.bin").read_bytes() == IMAGE
    page = (out / "index.html").read_text()
    assert '<esp-web-install-button manifest="manifest.json">' in page
    assert "n2-&lt;boys&gt;" in page
    assert stat.S_IMODE(out.stat().st_mode) == 0o700


@pytest.mark.parametrize("image", [b"", IMAGE[0x1000:], b"\xff" * 0x2000])
def test_what_is_no_complete_image_is_refused(firmware, tmp_path, image, capsys):
    firmware.write_bytes(image)
    assert plumewatch("device", "flash-page", firmware, "--out", tmp_path / "flash").code == 2
    assert "take firmware.factory.bin" in capsys.readouterr().err
    assert not (tmp_path / "flash").exists()


def test_a_folder_that_exists_and_a_file_that_does_not(firmware, tmp_path, capsys):
    assert plumewatch("device", "flash-page", firmware, "--out", tmp_path).code == 2
    assert "exists already" in capsys.readouterr().err
    assert plumewatch("device", "flash-page", tmp_path / "none.bin").code == 2
    assert "none.bin" in capsys.readouterr().err
