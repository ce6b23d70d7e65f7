"""Test puffs before and after an answer in a running service, from detector to phones."""

import time

from alerts.incidents.incident import Verdict
from alerts.notify.notice import KIND_WORDS
from plumewatch.config.load import parse
from storage.sqlite import transaction
from tests.support.alert_records import incidents
from tests.support.broker import free_port
from tests.support.in_process import running, state_database, store
from tests.support.plumes import readings_of_puff
from tests.support.service import Receiver
from tests.support.waiting import until

VAPE = KIND_WORDS["vape"]


def two_people(base):
    """Return a configuration with one room; first the principal is notified, then the dean."""
    return parse(
        {
            "site": "S",
            "timezone": "UTC",
            "broker": {"port": free_port()},
            "web": {"port": free_port()},
            "alerts": {"allow_private_targets": True, "pictures": False},
            "room": [{"id": "r", "name": "Boys", "building": "North", "floor": "2"}],
            "sensor": [{"id": "n2-boys-1", "room": "r"}, {"id": "n2-boys-2", "room": "r"}],
            "staff": [
                {"id": who, "name": who, "notify": [{"url_file": who}]}
                for who in ("principal", "dean")
            ],
        },
        base=base,
    )


async def test_only_the_responder_is_pushed_after_an_answer(tmp_path):
    start, later = time.time() - 160.0, 0.0

    def now():
        return time.time() + later

    with Receiver() as principal, Receiver() as dean:
        (tmp_path / "principal").write_text(principal.url)
        (tmp_path / "dean").write_text(dean.url)
        async with running(two_people(tmp_path), notifier=None, clock=now) as service:
            for sensor in ("n2-boys-1", "n2-boys-2"):
                seconds = 160.0 if sensor == "n2-boys-1" else 100.0
                await store(service, readings_of_puff(sensor, start, seconds=seconds))
            await until(lambda: len(principal.pushes) == len(dean.pushes) == 1)
            with state_database(service) as db, transaction(db) as tx:
                (first,) = incidents(tx, "id")
                engine = service.alerting.engine
                engine.record_feedback(tx, first, "dean", Verdict.CONFIRMED, now())
            later = 60.0
            second = readings_of_puff("n2-boys-2", start, onset_s=210.0, seconds=220.0)
            await store(service, second[50:])
            await until(lambda: len(dean.pushes) == 2)
            push = dean.pushes[-1]
            assert f"{VAPE} again since " in push["title"]
            assert push["message"].startswith("dean responded to the last alert here at ")
            with state_database(service) as db:
                assert incidents(db, "status")[0] == "resolved"
                assert incidents(db, "again_of") == ["", first]
        titles = [p["title"] for p in principal.pushes]
        assert len([t for t in titles if "since" in t and "responding" not in t]) == 1, titles
