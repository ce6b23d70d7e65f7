"""Events as detectors report them."""

from detection.events import ChannelEvidence, Event, EventKind, EventPhase


def make_event(
    at=1000.0,
    sensor="s1",
    kind=EventKind.VAPE,
    phase=EventPhase.ALERTED,
    onset=None,
    confidence=0.9,
    end=None,
    **more,
):
    """Make an event that alerted at time `at`; by default, its onset is six seconds earlier."""
    given = {
        "probabilities": {kind.value: confidence, "spray": 1 - confidence},
        "evidence": {"pm25": ChannelEvidence(4.0, 176.0, 6.0, None)},
        "model_version": "m1",
    }
    return Event(
        sensor=sensor,
        kind=kind,
        phase=phase,
        onset=at - 6.0 if onset is None else onset,
        alerted=at,
        peak_time=at,
        end=end,
        confidence=confidence,
        **{**given, **more},
    )
