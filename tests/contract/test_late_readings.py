"""Test that late readings are evaluated and reported as late."""

import json
from dataclasses import replace

import pytest

from sensor_sim.wire import WireMessage
from tests.contract.test_attacks import QUIET, VAPED, school  # noqa: F401 - a fixture
from tests.support import alert_records as stored
from tests.support.plumes import START, readings_of_puff

HOUR = 3_600.0


def backlog(sensor, delay_s, *, start=START, seconds=300.0, apart_s=0.01):
    """Return five minutes of readings with a puff, delivered in sequence after a delay."""
    begins = start + seconds + delay_s
    for k, message in enumerate(live(sensor, start, seconds, top=180.0)):
        yield replace(message, sent=begins + apart_s * k)


def live(sensor, start, seconds, *, top=0.0):
    for r in readings_of_puff(sensor, start=start, seconds=seconds, top=top):
        body = json.dumps({"time": r.time, "seq": int(r.time - START), **r.values}).encode()
        topic = f"plumewatch/v1/{sensor}/reading"
        yield WireMessage(topic, body, 1, False, r.received, sensor)


def incidents(result, kind="vape"):
    return stored.incidents(result.state, kind=kind)


def notices(result):
    return len(stored.notices(result.state))


@pytest.mark.parametrize(("apart_s", "others_live"), [(0.01, True), (0.5, False), (2.0, True)])
def test_an_hour_late_plume_is_an_incident_that_pages_nobody(school, others_live, apart_s):  # noqa: F811
    sent = list(backlog(QUIET, HOUR, apart_s=apart_s))
    if others_live:
        sent += live(VAPED, START, 300.0 + HOUR + 300.0)
    result = school().receive(sorted(sent, key=lambda m: m.sent), every_s=20)
    (late,) = incidents(result)
    assert (late.room, late.suppressed_by.code, late.paged) == ("n2-boys", "late", False)
    assert START + 140 < late.onset < START + 170
    assert late.opened_at > START + HOUR
    assert stored.history(result.state, "detail", what="held")[0]["mute"] == late.suppressed_by
    assert notices(result) == 0
    result.consumer.on_time(sent[-1].sent + 7_200.0)
    (late,) = incidents(result)
    assert not late.is_open
    assert notices(result) == 0


def test_a_plume_three_minutes_late_pages(school):  # noqa: F811
    result = school().receive(backlog(QUIET, 30.0))
    assert len(result.alerts_of("vape")) == 1
    assert notices(result) > 0


def test_a_live_plume_after_a_late_one_pages(school):  # noqa: F811
    """An hour-old backlog arrives while somebody vapes."""
    now = START + 300.0 + HOUR
    sent = [*backlog(QUIET, HOUR), *live(QUIET, now + 4.0, 300.0, top=180.0)]
    result = school().receive(sorted(sent, key=lambda m: m.sent))
    ((sensor, at),) = result.alerts_of("vape")
    assert sensor == QUIET
    assert now + 150.0 < at < now + 190.0
    assert notices(result) > 0
