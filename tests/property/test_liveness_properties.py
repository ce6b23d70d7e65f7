"""Test that outages begin and end once, and that no sensor is in two, whatever sensors do."""

from hypothesis import example, given, settings
from hypothesis import strategies as st

from detection.events import EventPhase, join_details
from detection.liveness import Liveness, SensorState

NAMES = ("a", "b", "c", "d")
INTERVALS = {"a": 5.0, "b": 5.0, "c": 60.0, "d": 600.0}
STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("run"), st.integers(1, 400), st.sets(st.sampled_from(NAMES))),
        st.tuples(st.just("jump"), st.integers(1, 40_000)),
        st.tuples(st.just("online"), st.sampled_from(NAMES)),
        st.tuples(st.just("offline"), st.sampled_from(NAMES)),
        st.tuples(st.just("broker_healthy"), st.booleans()),
        st.tuples(st.just("restart")),
    ),
    max_size=25,
)


class Model:
    """Drives `Liveness` and records its events."""

    def __init__(self, *, restarts=True):
        self.live = Liveness(INTERVALS)
        self.now = 0
        self.broker_healthy = True
        self.restarts = restarts
        self.open = {}
        self.events = []

    def record(self, events):
        for event in events:
            self.events.append((event.phase, event.id, join_details(event.details), event.time))
            if event.phase is EventPhase.ALERTED:
                assert event.id not in self.open
                assert event.onset <= event.time == event.alerted
                self.open[event.id] = event
            else:
                assert event.id in self.open
                assert (event.end is None) == (event.phase is EventPhase.UPDATED)
            if event.phase is EventPhase.ENDED:
                del self.open[event.id]

    def step(self, step):
        if step[0] == "run":
            self.run(step[1], step[2])
        elif step[0] == "jump":
            self.now += step[1]
        elif step[0] == "broker_healthy":
            self.broker_healthy = step[1]
        elif step[0] == "restart":
            if self.restarts:
                self.live = Liveness.restore(self.live.snapshot(), INTERVALS)
        else:
            self.record(self.live.on_item(step[1], float(self.now), alive=False, status=step[0]))
        out = [
            n for n, life in self.live.get_liveness().items() if life.state is SensorState.OFFLINE
        ]
        members = [m for outage in self.live._state.outages for m in outage.sensors]
        assert sorted(members) == sorted(set(members)) == sorted(out)
        assert len([o for o in self.live._state.outages if o.sensors]) <= len(self.open)

    def run(self, seconds, alive):
        for _ in range(seconds):
            self.now += 1
            for name in sorted(alive):
                if self.now % INTERVALS[name] == 0:
                    self.record(self.live.on_item(name, float(self.now), alive=True))
            self.record(self.live.on_time(float(self.now), broker_healthy=self.broker_healthy))


@settings(max_examples=60)
@given(STEPS)
def test_events_come_in_pairs_and_every_sensor_is_alive_again(steps):
    model = Model()
    for step in steps:
        model.step(step)
    model.broker_healthy = True
    model.run(1300, NAMES)
    assert not model.open
    states = {life.state for life in model.live.get_liveness().values()}
    assert states == {SensorState.ALIVE}


@settings(max_examples=60)
@given(STEPS)
@example(
    [
        ("jump", 1),
        ("run", 6, {"a"}),
        ("jump", 33),
        ("run", 77, {"a"}),
        ("restart",),
        ("run", 88, set()),
    ]
)
def test_a_restart_without_a_pause_changes_no_event(steps):
    whole, parted = Model(restarts=False), Model()
    for step in steps:
        whole.step(step)
        parted.step(step)
    assert [event[:2] for event in whole.events] == [event[:2] for event in parted.events]
