"""Run every simulated attack through intake, journal, detectors and incident rules.

A school has two rooms. While somebody attacks the sensor in one room, somebody vapes in the other.
The attack must cause an `integrity` incident, and the other room must alert at the same time as
without the attack. Suspicion never prevents an alert: a plume forged under a sensor's name is
evaluated like any other, and its incident mentions a second sender.
"""

import gzip
import itertools
import json
import math
import random
from dataclasses import replace

import pytest

from alerts.consumer.detection_consumer import DetectionConsumer
from alerts.engine import AlertEngine
from alerts.incidents import schema
from alerts.incidents.incident import Verdict
from alerts.operations import Operations
from alerts.policy import AlertPolicy, StaffMember
from alerts.secrets import Secret
from ingest.decoding import Context
from ingest.intake import Intake, IntakeConfig, OutcomeKind
from ingest.integrity import BURST
from ingest.validation import Message, may_alert
from sensor_sim.wire import SimulatedDevice, WireMessage
from storage.journal import STATE_SCRIPTS
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor
from storage.sqlite import connect, migrate, transaction
from tests.support.alert_records import notices
from tests.support.plumes import START, puff, readings_of_puff

pytestmark = pytest.mark.attack

QUIET, VAPED = "n2-boys-1", "n1-girls-1"
TOPIC = f"plumewatch/v1/{VAPED}/reading"
PUFF_S = 420.0
LENGTH_S = 560.0
AT = START + 400.0
ROOMS = (
    Room("n2-boys", "Boys N2", "2", "North", "Lincoln High"),
    Room("n1-girls", "Girls N1", "1", "North", "Lincoln High"),
)
REGISTRY = Registry.build(ROOMS, (Sensor(QUIET, "n2-boys"), Sensor(VAPED, "n1-girls")))
BIG = 100_000
GARBAGE = (
    b"",
    random.Random(0).randbytes(200),
    b"\x00" * 64,
    b"hello, is this thing on?",
    b'{"time":"2026-09-07T10:05:00Z","pm25":7.',
    b'{"pm25":7.1,}',
    b"[1,2,3]",
    b"42",
    b"null",
    b'{"seq":1}',
    b'{"pm25":NaN}',
    b'{"pm25":-Infinity}',
    b'{"pm25":1e999}',
    b'{"pm25":-5}',
    b'{"rh":65535,"temp":-1000}',
    b'{"pm25":"7.1"}',
    b'{"pm25":true}',
    b'{"pm25":{"value":7.1}}',
    b'{"pm25":7.1,"pm25":900}',
    b'{"time":"1970-01-01T00:00:12Z","pm25":7.1}',
    b'{"time":"2099-01-01T00:00:00Z","pm25":7.1}',
    b'{"time":"yesterday","pm25":7.1}',
    b'{"pm25":' + b"9" * 5_000 + b"}",
    b"[" * BIG,
    b'{"a":' * (BIG // 5),
    b'{"a":0' + b',"b":1' * (BIG // 6) + b"}",
    b"[{}" + b",{}" * (BIG // 3) + b"]",
    b'{"pm25":7.1,"image":"' + b"A" * BIG + b'"}',
    gzip.compress(b" " * BIG, mtime=0),
    b'{"pm25":7.1,"room":"\xff\xfe\xc0\xaf"}',
    b'\xef\xbb\xbf{"pm25":7.1}',
    b'{"pm25":7.1,"sensor":"a\\nlevel=error b"}',
    b'{"pm25":7.1,"sensor":"=1+1"}',
)
"""Payloads that are no readings, or decompression bombs."""


def replayed():
    """Return one sensor's recorded messages later, byte for byte."""
    old = [m for m in honest() if m.sensor == QUIET and START + 100 <= m.sent < START + 200]
    return [replace(message, sent=message.sent + 300) for message in old]


def spoofed(sensor, every_s, duration_s=60.0, claims=""):
    """Return a forged plume on a sensor's topic; `claims` is a different id in the payload."""
    device = SimulatedDevice(sensor)
    for k in range(int(duration_s / every_s)):
        at = AT + k * every_s
        fine = 4 + puff(k * every_s, 400.0)
        values = {"pm1": 0.9 * fine, "pm25": fine, "pm10": 1.05 * fine, "voc_index": 150.0}
        message = device.make_reading(at, at, values)
        body = json.loads(message.payload) | ({"sensor": claims} if claims else {})
        yield replace(message, payload=json.dumps(body).encode())


def flooded(retain):
    """Return many readings a second from unregistered sensors."""
    for k in range(4_000):
        at = AT + k / 200
        body = {"time": round(at, 3), "seq": k // 200, "pm25": float(k * 7 % 900)}
        topic = f"plumewatch/v1/flood-{k % 200:06d}/reading"
        yield WireMessage(topic, json.dumps(body).encode(), 1, retain, at)


def garbage(sensor):
    topic = f"plumewatch/v1/{sensor}/reading"
    for k in range(100):
        yield WireMessage(topic, GARBAGE[k % len(GARBAGE)], 1, False, AT + k / 5)


ON_THE_WIRE = {
    "spoof": (lambda: spoofed(QUIET, 1.0), QUIET),
    "spoof, other id inside": (lambda: spoofed(QUIET, 1.0, claims=VAPED), QUIET),
    "replay": (replayed, QUIET),
    "flood": (lambda: flooded(retain=False), ""),
    "flood that stays": (lambda: flooded(retain=True), ""),
    "garbage": (lambda: garbage(QUIET), QUIET),
}
"""Attacks, and the sensor in each one's integrity incident (none for a service incident)."""


def wire(reading, first):
    body = {"time": reading.time, "seq": first + reading.seq, **reading.values}
    topic = f"plumewatch/v1/{reading.sensor}/reading"
    return WireMessage(topic, json.dumps(body).encode(), 1, False, reading.received, reading.sensor)


def honest():
    quiet = readings_of_puff(QUIET, seconds=LENGTH_S, top=0.0)
    vaped = readings_of_puff(VAPED, seconds=LENGTH_S, onset_s=PUFF_S)
    messages = [wire(r, 5_000) for r in quiet] + [wire(r, 9_000) for r in vaped]
    return sorted(messages, key=lambda m: m.sent)


def beside_honest(forged):
    return sorted([*honest(), *forged], key=lambda m: m.sent)


class School:
    """Intake, state and incident rules of one service, with a clock that follows the messages."""

    def __init__(self, path):
        self.state = connect(path)
        migrate(self.state, "state", STATE_SCRIPTS)
        migrate(self.state, schema.COMPONENT, schema.SCRIPTS)
        staff = (
            StaffMember("ap", "AP", "staff", (Secret("json://127.0.0.1:9/ap"),)),
            StaffMember("fm", "FM", "facilities", (Secret("json://127.0.0.1:9/fm"),)),
        )
        policy = AlertPolicy(staff=staff, zone="UTC", page_url="https://plumewatch.example")
        self.now, self.operations = AT, Operations(lambda: self.now)
        config = IntakeConfig(context=Context(registry=REGISTRY))
        self.intake = Intake(config, self.operations.report)
        self.intake.restore(Reading(sensor, START - 9e4, START - 2) for sensor in REGISTRY.sensors)
        self.engine = AlertEngine(REGISTRY, policy)
        self.consumer = DetectionConsumer(self.state, self.engine, may_alert)
        self.consumer.open(lambda _after, _limit: ([], 0))
        self.alerts, self.events, self.position, self.stored = [], [], 0, []

    def receive(self, messages, every_s=2):
        """Process messages, with one commit every `every_s`, and every 20 s before `AT`."""
        for _, group in itertools.groupby(
            messages, key=lambda m: m.sent // (every_s if m.sent > AT - 20 else 20)
        ):
            readings = []
            for message in group:
                self.now = message.sent
                received = Message(
                    message.topic, message.payload, message.sent, message.retain, live=True
                )
                readings += self.intake.on_message(received).readings
                readings += self.intake.on_time(message.sent)
            self.intake.on_stored(readings)
            if readings:
                self.stored += readings
                self.position += len(readings)
                events = self.consumer.step(readings)
                self.events += events
                self.alerts += self.consumer.commit(events, self.position, readings[-1].received)
            with transaction(self.state) as tx:
                self.alerts += self.operations.store(tx, self.engine)
        return self

    def restart(self):
        """Start the intake anew, as after a crash; the detectors' state is as it was."""
        self.intake = Intake(self.intake.config, self.operations.report)
        self.intake.restore(self.stored[-500:])

    def alerts_of(self, kind):
        return [(a.sensor, a.alerted) for a in self.alerts if a.kind == kind]

    def notified_people(self):
        found = notices(self.state, "person", "notice")
        return {person for person, notice in found if notice.kind in {"integrity", "service"}}


@pytest.fixture
def school(tmp_path):
    made = []

    def make():
        made.append(School(tmp_path / f"{len(made)}.db"))
        return made[-1]

    yield make
    for each in made:
        each.state.close()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    without_attack = School(tmp_path_factory.mktemp("undisturbed") / "state.db").receive(honest())
    without_attack.state.close()
    ((sensor, at),) = without_attack.alerts_of("vape")
    assert sensor == VAPED
    assert without_attack.alerts_of("integrity") == []
    assert AT < at < AT + 60  # during the attacks
    return without_attack.alerts_of("vape")


@pytest.mark.parametrize("name", ON_THE_WIRE)
def test_an_attack_is_an_integrity_incident_and_silences_no_other_room(name, school, undisturbed):
    forge, victim = ON_THE_WIRE[name]
    attacked = school().receive(beside_honest(forge()))
    assert [a for a in attacked.alerts_of("vape") if a[0] == VAPED] == undisturbed
    assert {sensor for sensor, _ in attacked.alerts_of("vape")} <= {VAPED, victim}
    kind = "integrity" if victim else "service"
    assert {sensor for sensor, _ in attacked.alerts_of(kind)} == {victim}
    assert attacked.notified_people() - {"ap"} == {"fm"}


def test_what_is_forged_under_the_name_of_a_sensor_is_found_and_all_of_it_kept(school):
    """Forge a plume, floods, garbage and `offline` under the sensor's name while people vape."""
    gone = WireMessage(f"plumewatch/v1/{VAPED}/status", b"offline", 1, True, AT + 19.0)
    forged = [*spoofed(VAPED, 0.2, 120.0), *garbage(VAPED), gone]
    attacked = school().receive(beside_honest(forged))
    assert {sensor for sensor, _ in attacked.alerts_of("integrity")} == {VAPED}
    from_sensor = [r for r in attacked.stored if r.sensor == VAPED and r.values]
    assert len(from_sensor) >= len([m for m in honest() if VAPED in m.topic]) + 600
    assert all(map(may_alert, from_sensor))


def flood_of(sensor, per_s, begins, lasts_s, **content):
    """Return clean air under a sensor's name, sent as fast as possible."""
    topic, body = f"plumewatch/v1/{sensor}/reading", {"pm25": 4.0, "rh": 41.0, **content}
    for k in range(int(per_s * lasts_s)):
        counted = {key: body[key] + k for key in ("seq", "time") if key in body}
        payload = json.dumps(body | counted).encode()
        yield WireMessage(topic, payload, 0, False, begins + k / per_s, sensor)


def test_a_plume_in_the_first_readings_of_each_second_of_a_flood_is_seen(school):
    """In each second, forged clean air follows the sensor's own readings."""
    topic = f"plumewatch/v1/{QUIET}/reading"
    own = [
        WireMessage(topic, json.dumps(r.values).encode(), 1, False, int(r.received) + 0.05, QUIET)
        for r in readings_of_puff(QUIET, seconds=560.0, every_s=1.0, onset_s=420.0)
    ]
    forged = []
    for second in range(int(START) + 380, int(START) + 500):
        forged += flood_of(QUIET, 800, second + 0.1, 0.5)
    attacked = school().receive(sorted([*own, *forged], key=lambda m: m.sent))
    ((sensor, at),) = attacked.alerts_of("vape")
    assert sensor == QUIET
    assert START + 420 < at < START + 480


def test_what_is_left_out_unread_is_reported(school):
    """A message that the intake left out unread counts as flooded, and is reported."""
    topic = f"plumewatch/v1/{QUIET}/reading"
    attacked = school()
    outcome = attacked.intake.on_message(Message(topic, b"", AT, live=True, left_out=True))
    assert (outcome.kind, outcome.readings) == (OutcomeKind.FLOODED, ())
    attacked.receive(honest()[:20])
    assert {sensor for sensor, _ in attacked.alerts_of("integrity")} == {QUIET}
    assert attacked.intake.reading_counts.get_counts(QUIET)["flooded"] == 1


@pytest.mark.parametrize(
    ("per_s", "lasts_s", "content"),
    [
        (1_000, 1.5, {}),
        (700, 120, {}),
        (700, 120, {"seq": 10**6}),
        (700, 120, {"time": AT - 2e7}),
    ],
    ids=["a burst", "without stamps", "without stamps, numbered", "stamped"],
)
def test_a_flood_hides_no_plume_of_the_sensor_itself(school, per_s, lasts_s, content):
    """The sensor's own readings are evaluated, the flood is not, and somebody is notified."""
    forged = flood_of(VAPED, per_s, AT, lasts_s, **content)
    attacked = school().receive(beside_honest(forged))
    ((sensor, at),) = attacked.alerts_of("vape")
    assert sensor == VAPED
    assert AT < at < AT + 60
    assert {sensor for sensor, _ in attacked.alerts_of("integrity")} == {VAPED}
    assert attacked.notified_people() == {"fm", "ap"}
    first = min(at for _, at in attacked.alerts_of("integrity"))
    assert first < AT + 5, "at once"
    stored = [r for r in attacked.stored if r.sensor == VAPED and r.values]
    own = [r for r in stored if r.is_timed and r.seq is not None]
    assert len(own) == len([m for m in honest() if VAPED in m.topic])
    assert len(stored) - len(own) <= 2 * BURST + lasts_s + 1
    outcomes = attacked.intake.counters
    assert sum(outcomes.values()) == len(honest()) + int(per_s * lasts_s)


@pytest.mark.parametrize("pause_s", [5, 60, 250])
def test_a_flood_that_goes_on_after_an_answer_is_reported_again(school, pause_s):
    """An attacker who floods in bursts is reported again after the first answer."""
    attacked = school()
    attacked.receive(flood_of(QUIET, 800, AT, 1.0))
    ((_, first),) = attacked.alerts_of("integrity")
    (incident,) = {alert.incident for alert in attacked.alerts}
    with transaction(attacked.state) as tx:
        attacked.engine.record_feedback(tx, incident, "fm", Verdict.TEST, first + 2)
        attacked.engine.resolve(tx, incident, "fm", first + 2)
    for k in range(1, 500 // pause_s + 1):
        attacked.receive(flood_of(QUIET, 800, AT + k * pause_s, 1.0))
    again = [alert for alert in attacked.alerts if alert.incident != incident]
    assert [alert.kind for alert in again] == ["integrity"]
    assert again[0].alerted - first < 300 + max(pause_s, 60) + 5


@pytest.mark.parametrize("same_number", [True, False])
@pytest.mark.parametrize(
    "content", [{"co2": 600}, {"tvoc_ppb": 100}, {"n03": 1_000}], ids=["co2", "tvoc", "n03"]
)
def test_forged_air_of_other_quantities_hides_no_plume_in_silence(school, content, same_number):
    """The forged air doesn't contradict the sensor, so detectors treat it as the room's air."""
    topic = f"plumewatch/v1/{VAPED}/reading"
    forged = []
    for own in honest():
        if own.topic == topic and own.sent > AT:
            number = {"seq": json.loads(own.payload)["seq"]} if same_number else {}
            for after in (0.3, 0.9, 1.5):
                body = {"time": own.sent + 200, **number, **content}
                payload = json.dumps(body).encode()
                forged.append(WireMessage(topic, payload, 0, False, own.sent + after, VAPED))
    attacked = school().receive(beside_honest(forged))
    ((sensor, at),) = attacked.alerts_of("integrity")
    assert sensor == VAPED
    assert at < AT + 15


@pytest.mark.parametrize(
    ("stamped", "delay_s", "content", "moved_s", "every_s"),
    [
        (True, 1.5, {"temp": 21.5}, 100, 1.0),
        (True, 0.5, {"co2": 600}, 0, 1.0),
        (True, 0.303, {"tvoc_ppb": 100}, 290, 1.0),
        (True, 2.5, {"n10": 1}, 0, 0.4),
        (False, 0.05, {"co2": 600}, -590, 1.0),
        (False, 0.05, {"co2": 600}, -590, 20.0),
        (False, 0.05, {"pm25": 4.0}, -590, 20.0),
        (False, 0.05, {"pm25": 4.0}, -590, 0.9),
        (True, 0.31, {"temp": 21.5}, -0.31, 1.0),
        (True, 50.0, {"co2": 600}, 0, 1.0),
        (False, 0.31, {"co2": 600}, 0, 1.0),
        (False, 0.31, {"voc_index": 101}, 0, 0.4),
    ],
)
@pytest.mark.parametrize("numbered", [True, False])
@pytest.mark.parametrize("begins_s", [3.0, 400.0])
def test_forged_time_stamps_hide_no_plume(
    school, stamped, delay_s, content, moved_s, every_s, numbered, begins_s
):
    """The forged readings try to make the sensor's own ones look old, or to end its episodes."""
    topic, left_out = f"plumewatch/v1/{VAPED}/reading", {"time"} if not stamped else set()
    left_out |= set() if numbered else {"seq"}
    messages = []
    for r in readings_of_puff(VAPED, seconds=LENGTH_S, onset_s=PUFF_S, top=300):
        body = json.loads(wire(r, 9_000).payload)
        payload = json.dumps({key: body[key] for key in body.keys() - left_out}).encode()
        messages.append(WireMessage(topic, payload, 1, False, r.time + delay_s, VAPED))
    for k in range(int((LENGTH_S - begins_s) / every_s)):
        at = START + begins_s + 0.3 + k * every_s
        payload = json.dumps({"time": at + moved_s, **content}).encode()
        messages.append(WireMessage(topic, payload, 0, False, at, VAPED))
    attacked = school().receive(sorted(messages, key=lambda m: m.sent))
    ((sensor, at),) = attacked.alerts_of("vape")
    assert sensor == VAPED
    assert START + PUFF_S < at < START + PUFF_S + 60


def measured(at, onsets, top=200.0):
    """Return what a sensor measures at `at`, with puffs at `onsets`."""
    fine = 4.0 + random.Random(int(at * 1_000)).gauss(0, 0.2)
    fine += sum(puff(at - onset, top) for onset in onsets)
    values = {"pm1": 0.9 * fine, "pm25": fine, "pm10": 1.05 * fine, "voc_index": 100.0, "rh": 41.0}
    return {key: round(value, 1) for key, value in values.items()}


def publish(at, values, number=None, stamp=None, late_s=0.25):
    body = values | ({} if number is None else {"seq": number})
    body |= {} if stamp is None else {"time": START + stamp}
    return WireMessage(TOPIC, json.dumps(body).encode(), 1, False, START + at + late_s, VAPED)


INTERVALS = {1.0: 3, 2.0: 6, 5.0: 10, 10.0: 20, 20.0: 40, 30.0: 60, 60.0: 60}
"""How long after the onset a plume is reported, by the sensor's interval in seconds."""
FORGED = (
    *("clean", "dirty", "spikes", "ramp", "earlier", "jitter", "ahead", "climate", "at once"),
    *("another quantity", "ladder"),
)
RATES = (0.3, 0.65, 1.0, 1.5, 2.5, 4.0)


@pytest.mark.parametrize(
    ("every_s", "kind", "rate"),
    [
        (every_s, kind, rate)
        for i, (every_s, kind) in enumerate(itertools.product(INTERVALS, FORGED))
        for rate in RATES[i % 3 :: 3]
    ],
)
def test_a_second_sender_hides_no_plume_in_silence(school, every_s, kind, rate):
    """The plume is reported when it usually is, or else the second sender is."""
    variant = FORGED.index(kind) + RATES.index(rate) + int(every_s)
    stamped, numbered = variant % 3 > 0, variant % 3 > 1
    begins_s = max(700.0 if kind == "another quantity" else 300.0, 12 * every_s)
    onset_s = begins_s + 60 + 8 * every_s
    length_s = onset_s + max(120.0, 6 * every_s)
    onsets = [onset_s + 7 * k for k in range(7 if every_s >= 30 else 1)]

    def send(at, values, number, moved_s=0.0):
        number = number if numbered else None
        return publish(at, values, number, at + moved_s if stamped or moved_s else None)

    own = [k * every_s for k in range(int(length_s / every_s))]
    messages = [send(at, measured(at, onsets), 9_000 + k) for k, at in enumerate(own)]
    at, rng = begins_s + 0.37 * every_s, random.Random(1)
    for k in itertools.count():
        if at > length_s:
            break
        top = 400.0 * (kind == "dirty" or (kind == "spikes" and k % 2))
        top = top or 400.0 * (kind == "ramp") * min(max(at + 60 - onset_s, 0) / 60, 1.0)
        forged = measured(at, [])
        if kind == "earlier":
            forged = measured(at - 10 * every_s, onsets)
        forged["pm25"] += top
        if kind == "climate":
            forged = {"rh": 5.0 if k % 2 else 80.0, "temp": 60.0, "voc_index": 500.0}
        elif kind == "another quantity":
            forged = {"n03": 130.0 + k}
        elif kind == "ladder":
            forged["pm25"] = (5.0, 24.0, 71.0, 206.0, 597.0, 1_000.0, 597.0, 206.0, 71.0, 24.0)[
                k % 10
            ]
        sent = round(at / every_s) * every_s + 0.02 if kind == "at once" else at
        messages.append(send(sent, forged, 9_000 + int(at / every_s), 50.0 * (kind == "ahead")))
        if (kind == "another quantity" and k < 9) or (kind == "ladder" and k % 10 < 9):
            at += 0.2 if kind == "another quantity" else 0.004
            continue
        at += every_s / rate * (rng.uniform(0.5, 1.5) if kind == "jitter" else 1.0)
    attacked = school().receive(sorted(messages, key=lambda m: m.sent), every_s=20)
    by = START + onset_s + INTERVALS[every_s] + 2 * every_s + 2
    plumes = [e for e in attacked.events if e.kind in {"vape", "possible"}]
    assert any(START + onset_s < e.alerted <= by for e in plumes) or attacked.notified_people() == {
        "fm",
        "ap",
    }


@pytest.mark.parametrize(
    ("old_s", "rate", "slow_s"),
    [
        *((20.0, 1.0, 0.0), (59.0, 4.0, 0.0), (12.0, 0.5, 0.0), (35.0, 1.0, 15.0), (0.0, 1.0, 0.0)),
        *(("saw", 4.0, 0.0), ("teeth", 1.0, 0.0), ("teeth", 2.0, 0.0)),
    ],
)
@pytest.mark.parametrize("every_s", [1.0, 2.0, 10.0, 30.0])
@pytest.mark.parametrize("restarts", [False, True])
def test_dirty_readings_with_older_stamps_hide_no_plume(
    school, every_s, old_s, rate, slow_s, restarts
):
    onset_s = 480.0 + 8 * every_s
    onsets, end_s = [onset_s + 7 * k for k in range(5)], onset_s + 120
    messages = [
        publish(at, measured(at, onsets), stamp=at - slow_s) for at in regularly(every_s, 0, end_s)
    ]
    dirty = {"pm1": 360.0, "pm25": 400.0, "pm10": 420.0}
    forged = regularly(every_s / rate, onset_s - 60 + 0.37 * every_s, end_s)
    age_s = 0.0
    for at in forged:
        if old_s == "saw" and age_s < 16:  # then the stamps catch up, like those of a backlog
            age_s = 61.1
            messages.append(publish(at, measured(at, []), stamp=at - 90.0, late_s=0.0))
        age_s = age_s - 2.1 * every_s / rate if old_s == "saw" else old_s
        if old_s == "teeth":  # ten milliseconds after a reading that is too old to count
            messages.append(publish(at - 0.01, measured(at, []), stamp=at - 60.6, late_s=0.0))
            age_s = 58.9
        messages.append(publish(at, dirty, stamp=at - age_s, late_s=0.0))
    messages.sort(key=lambda m: m.sent)
    attacked = school().receive(m for m in messages if m.sent < START + onset_s - 60)
    if restarts:
        attacked.restart()
    attacked.receive((m for m in messages if m.sent >= START + onset_s - 60), every_s=20)
    plumes = [e for e in attacked.events if e.kind in {"vape", "possible"}]
    in_time = [e for e in plumes if START + onset_s < e.alerted < START + onset_s + 60]
    assert in_time or attacked.notified_people() == {"fm", "ap"}


@pytest.mark.parametrize("stamp_s", [None, 0.0, -30.0])
@pytest.mark.parametrize("rate", [0.2, 1.0])
@pytest.mark.parametrize(
    ("every_s", "late_s"), [(2.0, 200.0), (10.0, 70.0), (30.0, 400.0), (2.0, None), (10.0, None)]
)
def test_clean_air_hides_no_plume_that_usually_arrives_late(school, every_s, late_s, rate, stamp_s):
    """The sensor's clock is `late_s` slow, or a gateway sends a batch a minute (None)."""
    onsets = [660.0, 667.0, 674.0]
    messages = [
        publish(
            at,
            measured(at, onsets),
            stamp=at,
            late_s=60 - at % 60 + at % 60 / 166 if late_s is None else late_s,
        )
        for at in regularly(every_s, end_s=960.0)
    ]
    for at in regularly(every_s / rate, 500.0 + 0.37 * every_s, 960.0 + (late_s or 0.0)):
        stamp = None if stamp_s is None else at + stamp_s
        messages.append(publish(at, {"pm25": measured(at, [])["pm25"]}, stamp=stamp, late_s=0.0))
    attacked = school().receive(sorted(messages, key=lambda m: m.sent), every_s=20)
    alerts = attacked.alerts_of("vape")
    assert alerts or attacked.notified_people() == {"fm", "ap"}


@pytest.mark.parametrize("old_s", [1_000.0, 25_000.0])
@pytest.mark.parametrize(("sample_s", "usually_s"), [(60.5, 60.5), (2.0, 300.0), (10.0, 90.0)])
def test_old_time_stamps_beside_a_sensor_without_any_hide_no_plume(
    school, sample_s, usually_s, old_s
):
    """They arrive when the sensor has been silent for a minute, once or every 3 s."""
    onset_s = usually_s * (1_200 // usually_s) + (107.0 if usually_s > 200 else usually_s - 5)
    onsets = [onset_s + 7 * k for k in range(5)]
    times = [*when_changed(sample_s, usually_s, onsets)]
    messages = [publish(at, measured(at, onsets)) for at in times]
    silent = [(a + 60.5, b) for a, b in itertools.pairwise(times) if b < onset_s + 20]
    for begin_s, end_s in silent[-6:]:
        for at in regularly(3.0, begin_s, max(end_s, begin_s + 0.1) + 3.0):
            stamp = at - old_s
            messages.append(publish(at, {"pm25": measured(at, [])["pm25"]}, stamp=stamp, late_s=0))
    attacked = school().receive(sorted(messages, key=lambda m: m.sent), every_s=20)
    plumes = [e for e in attacked.events if e.kind in {"vape", "possible"}]
    assert plumes or attacked.notified_people() == {"fm", "ap"}


@pytest.mark.parametrize("every_s", [2.0, 10.0])
@pytest.mark.parametrize("top", [600.0, 20_000.0])
def test_a_forged_spike_hides_no_plume_in_a_batch(school, every_s, top):
    """It is stamped just before a batch arrives, so the batch looks old."""
    onsets = [1_215.0]
    messages = [
        publish(at, measured(at, onsets, 180.0), stamp=at, late_s=60 - at % 60 + at % 60 / 166)
        for at in regularly(every_s, end_s=1_500.0)
    ]
    values = {"pm1": 0.9 * top, "pm25": top, "pm10": 1.05 * top}
    messages.append(publish(1_259.9, values, stamp=1_259.9, late_s=0.0))
    attacked = school().receive(sorted(messages, key=lambda m: m.sent), every_s=20)
    assert attacked.alerts_of("vape") or attacked.notified_people() == {"fm", "ap"}


@pytest.mark.parametrize("stamped", [True, False])
def test_forged_messages_of_one_quantity_drop_none_of_the_sensor_s(school, stamped):
    """They are low and stamped ahead, and arrive in pairs."""
    onset_s, end_s = 1_380.0, 1_630.0
    onsets = [onset_s + 7 * k for k in range(7)]
    own = [(at, measured(at, onsets), at if stamped else None) for at in regularly(60.0, 0, end_s)]
    low = {"pm1": 15.0, "pm25": 15.0, "pm10": 15.0}
    first = regularly(150.0, onset_s - 468, end_s)
    forged = [(at + late_s, low, at + late_s + 50) for at in first for late_s in (0.0, 0.1)]
    messages = [
        publish(at + k / 1_000, {key: value}, stamp=stamp, late_s=0.0)
        for at, values, stamp in own + forged
        for k, (key, value) in enumerate(values.items())
    ]
    attacked = school().receive(sorted(messages, key=lambda m: m.sent), every_s=20)
    assert any(e.kind == "possible" and e.alerted > START + onset_s for e in attacked.events)


OBJECTS = {"pm1": "pm_1_0", "pm25": "pm_2_5", "pm10": "pm_10_0", "rh": "humidity"}
CLIMATE = {
    "rh": lambda after_s: 41 + 50 * min(max(after_s + 20, 0) / 24, 1),
    "voc_index": lambda after_s: 100 + 390 * min(max(after_s + 1, 0) / 3, 1),
}


@pytest.mark.parametrize("every_s", [2.0, 5.0, 10.0])
@pytest.mark.parametrize("own", ["pm1 pm25 pm10", "pm1 pm25 pm10 rh voc_index", "seldom", "crowd"])
@pytest.mark.parametrize("forged", CLIMATE)
def test_forged_values_of_single_topics_explain_no_plume_away(school, every_s, own, forged):
    """They arrive between the sensor's values, so a join window could take them for its own.

    `crowd`: until the plume begins, ambient particles arrive more often, too.
    """
    crowd, seldom = own == "crowd", own in {"seldom", "crowd"}
    own = "pm1 pm25 pm10" if seldom else own

    def send(at, key, value):
        topic = f"{VAPED}/sensor/{OBJECTS.get(key, key)}/state"
        return WireMessage(topic, str(value).encode(), 0, False, START + at, VAPED)

    onset_s = (900.0 if seldom else 360.0) + 8 * every_s
    onsets, end_s = [onset_s + 7 * k for k in range(3)], onset_s + 200
    messages = [
        send(at + k / 100, key, measured(at, onsets)[key])
        for at in regularly(every_s, end_s=end_s)
        for k, key in enumerate(own.split())
    ]
    often = regularly(every_s, 0.3, end_s) if seldom else regularly(0.4, onset_s - 30, end_s - 30)
    for key in CLIMATE if seldom else (forged,):
        messages += [send(at, key, CLIMATE[key](at - onset_s)) for at in often if at > onset_s - 30]
        messages += [send(at + 0.05, key, 41.0) for at in regularly(60.0, end_s=end_s) if seldom]
    if crowd:
        for at in regularly(every_s / 5, onset_s - 30 + every_s / 10, onset_s + 1):
            ambient = measured(at, [])
            messages += [send(at + k / 100, key, ambient[key]) for k, key in enumerate(own.split())]
    attacked = school().receive(sorted(messages, key=lambda m: m.sent), every_s=20)
    ((sensor, at),) = attacked.alerts_of("vape")
    assert sensor == VAPED
    assert START + onset_s < at < START + onset_s + 45


def regularly(every_s, begin_s=0.0, end_s=1_600.0):
    return [begin_s + k * every_s for k in range(int((end_s - begin_s) / every_s))]


def when_changed(sample_s, usually_s, onsets):
    """Return when a device reports that also reports changes at once."""
    last_s, last = -math.inf, 0.0
    for at in regularly(sample_s):
        fine = measured(at, onsets)["pm25"]
        if at - last_s >= usually_s or abs(fine - last) > max(2.0, 0.15 * last):
            yield at
            last_s, last = at, fine


ONSETS = (1_200.0, 1_290.0, 1_380.0, 1_470.0)
PARTICLES = {"pm1", "pm25", "pm10"}
DEVICES = {
    "reports changes": ([*when_changed(1.0, 60.0, ONSETS)], 6, {}),
    "seldom reports, and changes": ([*when_changed(2.0, 300.0, ONSETS)], 33, {}),
    "reports large changes": ([*when_changed(20.0, 60.0, ONSETS)], 62, {}),
    "shorter interval": ([*regularly(30.0, end_s=900.0), *regularly(10.0, 900.0)], 22, {}),
    "half the interval": ([*regularly(10.0, end_s=900.0), *regularly(5.0, 900.0)], 12, {}),
    "jitter": (regularly(10.0), 24, {"late_s": lambda at: random.Random(at).uniform(0, 4)}),
    "lossy": ([at for at in regularly(2.0) if random.Random(at).random() > 0.2], 12, {}),
    "batches": (regularly(10.0), 22, {"late_s": lambda at: 60 - at % 60 + at % 60 / 166}),
    "changes in batches": (
        [*when_changed(2.0, 60.0, ONSETS)],
        34,
        {"late_s": lambda at: 30 - at % 30 + at % 30 / 166},
    ),
    "after an outage": (
        regularly(5.0),
        12,
        {"late_s": lambda at: 1_100.2 - at + at / 50 if 600 < at < 1_100 else 0.2},
    ),
    "two gateways": (regularly(10.0), 24, {"again_s": 0.4}),
    "two gateways, slow clock": (regularly(1.0), 77, {"again_s": 0.3, "late_s": lambda _at: 70.0}),
    "two gateways, numbered": (regularly(10.0), 24, {"again_s": 0.4, "first": 9_000}),
    "a second gateway later": (regularly(20.0), 42, {"again_s": 0.4, "again_from_s": 600.0}),
    "a moment in two messages": (regularly(5.0), 12, {"parts": (PARTICLES, {"voc_index", "rh"})}),
    "a message a quantity": (regularly(5.0), 17, {"parts": ({"pm1"}, {"pm25"}, {"pm10"}, {"rh"})}),
}
"""When devices measure, when a plume is reported at the latest, and how the readings are sent."""


@pytest.mark.parametrize("name", DEVICES)
def test_a_single_sender_alerts_in_time_and_is_not_suspected(school, name):
    times, by_s, sent = DEVICES[name]
    late, again_s = sent.get("late_s", lambda _at: 0.25), sent.get("again_s")
    messages = []
    for n, at in enumerate(times):
        values, number = measured(at, ONSETS), sent["first"] + n if "first" in sent else None
        for k, part in enumerate(sent.get("parts", (values.keys(),))):
            message = publish(
                at,
                {key: values[key] for key in part},
                number,
                None if again_s and "late_s" not in sent else at,
                late(at),
            )
            messages.append(replace(message, sent=message.sent + k / 100))
        if again_s and at >= sent.get("again_from_s", 0.0):
            messages.append(replace(messages[-1], sent=messages[-1].sent + again_s))
    observed = school().receive(sorted(messages, key=lambda m: m.sent), every_s=20)
    (_, alerted), *_ = observed.alerts_of("vape")
    assert START + ONSETS[0] < alerted <= START + ONSETS[0] + by_s
    assert observed.alerts_of("integrity") == []
    assert not observed.consumer.skipped or name != "a moment in two messages"
