"""Test that the program accepts and prints what docs/alerting.md shows."""

import re
import tomllib
from pathlib import Path

from plumewatch.config.load import parse
from plumewatch.config.settings import build_alert_policy
from tests.support.command import plumewatch

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/alerting.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


def test_the_timeline_is_that_of_the_demo(tmp_path):
    path = tmp_path / "plumewatch.toml"
    demo = (ROOT / "plumewatch/cli/school.toml").read_text(encoding="utf-8")
    path.write_text(re.sub(r"notify = .*\n", "", demo), encoding="utf-8")
    asked = ("--room", "n2-boys", "--kind", "vape", "--at", "2026-09-07T10:05")
    (shown,) = blocks("text")
    assert plumewatch("timeline", "-c", path, *asked).out.startswith(shown)


def test_the_settings_are_valid(tmp_path):
    text = blocks("toml")[-1]
    tree = {
        "site": "S",
        "timezone": "UTC",
        "room": [{"id": "r", "name": "R", "building": "B"}],
        "sensor": [{"id": "s", "room": "r"}],
    } | tomllib.loads(text)
    for name in ("ap-ntfy", "ap-sms"):
        (tmp_path / "secrets").mkdir(exist_ok=True)
        (tmp_path / "secrets" / name).write_text(f"ntfys://ntfy.example/{name}")
        (tmp_path / "secrets" / name).chmod(0o600)
    policy = build_alert_policy(parse(tree, base=tmp_path))
    assert policy.staff[0].quiet[0].weekdays == {0, 1}
