"""What docs/alerting.md shows is what the program takes and prints."""

import re
import tomllib
from pathlib import Path

from plumewatch.config.load import parse
from plumewatch.config.settings import build_alert_policy

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/alerting.md").read_text(encoding="utf-8")


def blocks(language):
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


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
    assert policy.staff[0].quiet[0].divert
