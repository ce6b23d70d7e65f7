"""Test that every kind of notice and every page is completely in Spanish."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from alerts.access.own_channels import OwnChannels, choose_language
from alerts.incidents.incident import Verdict
from alerts.notify.notice import NoticeReason, render
from alerts.notify.trial_notices import send_trials
from alerts.page.settings import PipelineStatus, SensorStatus
from alerts.policy import AlertPolicy, EscalationTimings, StaffMember
from alerts.secrets import Secret
from detection.events import ChannelEvidence
from detection.liveness import SensorState
from ingest.errors import Reason
from ingest.integrity import CountKind
from storage import sqlite
from storage.registry import Quarantined
from storage.timeseries.resolution import Retention
from storage.timeseries.sqlite import SqliteSeries
from tests.support.health_parts import NOW
from tests.support.leftovers import leftovers, of_page, untranslated
from tests.support.recording_notifier import RecordingNotifier
from tests.support.timeline import Timeline

TIMINGS = EscalationTimings(escalate_after_s=60, repeat_after_s=300, rounds=2)
EVIDENCE = {
    "pm25": ChannelEvidence(4, 176, 6, 14.0),
    "tvoc_ppb": ChannelEvidence(300, 2, 6, None),
    "rh": ChannelEvidence(40, 2, 0, None),
}


def member(name, language="", role="staff"):
    target = Secret(f"ntfy://127.0.0.1:9/{name}")
    return StaffMember(name, name.title(), role, (target,), language=language)


@pytest.fixture
def school(registry):
    staff = (member("lee", "es"), member("fox", "en"), member("fay", "es", "facilities"))
    policy = AlertPolicy(
        staff=staff, timings=TIMINGS, page_url="https://school.example", zone="America/New_York"
    )
    return Timeline(registry, policy)


def puff(school, make_event, t=0, **more):
    event = make_event(school.start + t, **more)
    odds = {event.kind.value: 0.97, "spray": 0.02}
    school.push(t, replace(event, probabilities=odds, evidence=EVIDENCE))


def sent(school):
    """Return person, notice, title and body of every sent notice."""
    for received, notice in zip(school.received_notices, school.notices, strict=True):
        yield received.person, notice, *render(notice)


def texts(school, person, reason):
    return [(t, b) for who, n, t, b in sent(school) if who == person and n.reason is reason]


def test_each_person_is_notified_in_their_language(school, make_event):
    puff(school, make_event)
    school.run(5)
    ((title, body),) = texts(school, "lee", NoticeReason.OPENED)
    assert title == "Boys N2, piso 2, North: Vapeo probable desde las 9:59 a.m."
    assert body.startswith(
        "97% de probabilidad de vapeo (2% aerosol). Motivo: partículas finas: de 4 a 180 en 6 s"
        " y a la mitad en 14 s,"
    )
    assert body.endswith("?lang=es")
    ((title, body),) = texts(school, "fox", NoticeReason.OPENED)
    assert title.startswith("Boys N2, floor 2, North: Vaping likely since")
    assert body.startswith("97% likely vaping (2% spray). Why: fine particles rose from 4 to 180")


@pytest.mark.parametrize("reason", list(NoticeReason))
def test_every_reason_is_worded_in_spanish(school, make_event, reason):
    puff(school, make_event)
    school.run(5)
    (first,) = [n for who, n, _, _ in sent(school) if who == "lee"]
    changed = {"reason": reason, "by": "Fox", "again": True, "evidence": None, "link": ""}
    title, body = render(type(first)(**{**as_dict(first), **changed}))
    assert leftovers(f"{title} {body}") == set()


def as_dict(notice):
    return {name: getattr(notice, name) for name in notice.__struct_fields__}


@pytest.mark.parametrize("schools", ["en", "es"])
async def test_a_test_notice_has_the_language_of_other_notices(
    school, make_event, database, schools
):
    staff = (*school.policy.staff, member("kim"), member("ray", "es"))
    with closing(sqlite.connect(database)) as db, sqlite.transaction(db) as tx:
        choose_language(tx, "ray", "en")
    configured = replace(school.policy, staff=staff, language=schools)
    school.policy = OwnChannels(database).add_to(configured)
    notifier = RecordingNotifier()
    await send_trials(notifier, school.policy.staff, school.policy, "Lincoln High", 0.0)
    spoken = {n.target.reveal().rpartition("/")[2]: n.notice.language for n in notifier.sent}
    assert spoken == {"lee": "es", "fox": "en", "fay": "es", "kim": schools, "ray": "en"}
    titles = {"en": "Test notice, Lincoln High", "es": "Aviso de prueba, Lincoln High"}
    assert all(n.title == titles[n.notice.language] for n in notifier.sent)
    puff(school, make_event)
    school.run(120)
    alerts = {who: n.language for who, n, _, _ in sent(school)}
    assert alerts.items() <= spoken.items()
    assert {"kim", "ray"} <= alerts.keys()


def routes(app):
    for route in app.routes:
        if "GET" in (getattr(route, "methods", None) or ()) and not route.path.endswith("live"):
            yield route.path


@pytest.fixture
def series(tmp_path):
    with SqliteSeries(tmp_path / "series.db", Retention(30, 30, 30)) as opened:
        yield opened


@pytest.fixture
def status():
    """Return a function whose result is a status with every code that a page can show."""

    def pipeline():
        counts = dict.fromkeys(CountKind, 1)
        return PipelineStatus(
            dict.fromkeys(Reason, 1),
            [Quarantined("n9", NOW, NOW, 1, "native")],
            [Quarantined("n9", NOW, NOW, 1)],
            {
                f"s{k}": SensorStatus(s, NOW, 5.0, counts, no_particles_since=NOW)
                for k, s in enumerate(SensorState, 1)
            },
        )

    return pipeline


async def test_no_page_in_spanish_has_english_in_it(open_page, policy, make_event, series, status):
    staff = tuple(replace(m, language="es") for m in policy.staff)
    page = open_page(replace(policy, staff=staff), series=series, pipeline=status)
    incident = page.incident(make_event)
    with sqlite.transaction(page.db) as tx:
        page.engine.acknowledge(tx, incident, "ap", page.now)
        page.engine.record_feedback(
            tx, incident, "ap", Verdict.FALSE_ALARM, page.now, cause="spray", note=""
        )
    await page.sign_in("ad")
    found, seen = {}, 0
    ids = {"incidents": incident, "sensors": "s1"}
    for path in routes(page.app):
        one = next((one for part, one in ids.items() if part in path), "n2-boys")
        address = path.replace("{id}", one).replace("{id:row}", "1").replace("{form}", "people")
        address = address.replace("{entry}", "new")
        english = await page.client.get(f"{address}?lang=en")
        answer = await page.client.get(f"{address}?lang=es")
        if "text/html" in answer.headers.get("content-type", ""):
            seen += 1
            assert 'lang="es"' in answer.text or "<html" not in answer.text, path
            words = of_page(answer.text) | untranslated(english.text, answer.text)
            if path not in {"/sign", "/offline"} and words:
                found[path] = sorted(words)
    assert found == {}, "\n".join(f"{k}: {v}" for k, v in found.items())
    assert seen > 15
