"""Silences and inhibition against what a running Alertmanager muted, alert by alert.

`PLUMEWATCH_MUTE_CASES` names another file of the format; without it the shared file is taken where
it is present. The golden file is always run.
"""

from __future__ import annotations

import pytest

from alerts.routing.matchers import all_match
from alerts.routing.muting import InhibitRule, inhibited_by
from tests.support.routing import GOLDEN, case_files, matchers_of

FILES = case_files("PLUMEWATCH_MUTE_CASES", "mute_public.json", GOLDEN / "mute.json")


def muted(round_):
    """What we find of each alert of a round: silences by place, and whether it is inhibited."""
    rules = [
        InhibitRule(matchers_of(r["source"]), matchers_of(r["target"]), tuple(r["equal"]))
        for r in round_["inhibit"]
    ]
    silences = [matchers_of(s) for s in round_["silences"]]
    running = [alert["labels"] for alert in round_["alerts"]]
    for labels in running:
        yield (
            [i for i, silence in enumerate(silences) if all_match(silence, labels)],
            inhibited_by(rules, labels, running) is not None,
        )


@pytest.mark.parametrize("file", FILES)
def test_every_alert_is_muted_as_alertmanager_mutes_it(file):
    wrong = []
    count = 0
    for number, round_ in enumerate(file["rounds"]):
        for alert, found in zip(round_["alerts"], muted(round_), strict=True):
            count += 1
            if found != (sorted(alert["silenced"]), alert["inhibited"]):
                wrong.append((number, alert, found))
    assert not wrong, f"{len(wrong)} of {count}: {wrong[:3]}"
    assert count
