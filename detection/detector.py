"""The plume detector: readings in, events out, no clock and no I/O.

Each reading updates its sensor's baselines (`detection.channels`). A clear rise opens an episode
(`detection.episodes`). The model scores the episode's features (`detection.model`), and this module
decides when to alert. It alerts on `vape` once per session, as soon as the log-odds reach the
sensor's alert threshold. It reports a pulse as `possible` if the score is slightly too low, if the
sensor reports too rarely to rule out a spray, or if the pulse is large and has no clear cause. It
alerts on other kinds when they are clear or, except for smoke, when the episode ends.

Time comes from the readings. When they stop, the detector's clock stops too, until `on_time`
advances it. Any split of a stream into batches gives the same events. A sensor is not scored before
it has reported for `WARM_UP_S`. A reading that is not newer than its sensor's last is ignored and
counted (`Detector.skipped`). Readings with particles are compared only with other readings with
particles, so nothing else that is sent under the sensor's name can make them look old.
"""

from __future__ import annotations

import io
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Final, Protocol
from zipfile import BadZipFile

import numpy as np

from detection import alert_rules
from detection.alert_rules import AlertThresholds
from detection.channels import FINE, MIN_S, WIDTH, BaselineTracker, select_channels
from detection.episodes import (
    ALERTED,
    EPISODE,
    IDLE,
    LONGEST_S,
    OPEN,
    SCORED_S,
    SESSION_S,
    TIMES,
    begin_pulses,
    compute_features,
    find_ended,
    follow,
    make_idle,
    open_episodes,
    put,
    take,
)
from detection.errors import SnapshotError
from detection.events import Detail, Event, EventKind, EventPhase, make_event_id
from detection.model import KINDS, Model
from language.messages import build_fact

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Sequence

    from numpy.typing import NDArray

    from detection.channels import Change, ReadingBatch
    from detection.episodes import Episodes

    Floats = NDArray[np.float64]
    Flags = NDArray[np.bool_]

GAP_S: Final = 900.0
"""After a longer silence, a sensor's last readings are disregarded."""
HISTORY_S: Final = 6 * 3600.0
"""After a longer silence, the sensor's baselines are discarded too, and it starts over."""
SILENT_S: Final = 300.0
"""An episode ends if its sensor's next reading is later than this. Until that arrives,
`Detector.on_time` ends it only after a silence this long in both event time and receive time,
because the readings of a backlog are already old when they arrive."""
_NEAR, _LARGE, _RARE = range(3)
_WHY_POSSIBLE: Final = ((), (build_fact(Detail.LARGE_PLUME),), (build_fact(Detail.RARE_READINGS),))
"""Details of a possible-vaping event by reason. `_NEAR`: the pulse scored just below the threshold.
`_LARGE`: it is large. `_RARE`: its sensor reports too rarely to rule out a spray."""
_NEAR_S: Final = 60.0
_FORMAT: Final = 1


class PulseObserver(Protocol):
    """Receives the features of pulses and episodes when they are scored."""

    def on_features(
        self,
        names: Sequence[str],
        rows: NDArray[np.int32],
        time: Floats,
        episodes: Episodes,
        features: Floats,
        is_pulse: Flags,
        is_classified: Flags,
    ) -> None:
        """Receive one row per scored reading of a pulse (`is_pulse`) or episode (`is_classified`).

        `episodes` has the log-odds of the pulses.
        """


@dataclass(slots=True)
class _Round:
    """One reading from each of several sensors, in ascending order of rows."""

    at: NDArray[np.intp]
    rows: NDArray[np.int32]
    time: Floats
    dt: Floats
    x: Floats
    episode: Episodes
    events: list[tuple[int, Event]]


class Detector:
    """Detects plumes in the readings of many sensors.

    Parameters
    ----------
    model : Model, optional
        The shipped model by default.
    observer : PulseObserver, optional
        Receives the scored features; it does not affect the events.

    Examples
    --------
    >>> detector = Detector()
    >>> detector.assign_row("N2-boys"), detector.assign_row("N2-girls")
    (0, 1)
    """

    def __init__(self, model: Model | None = None, observer: PulseObserver | None = None) -> None:
        self._model = model or Model.load_shipped()
        self._observer = observer
        self._rows: dict[str, int] = {}
        self._baselines = BaselineTracker()
        self._episodes: Episodes = make_idle(16)
        # Kept outside the episodes (a kilobyte each), because every reading checks it.
        self._in_episode = np.zeros(16, np.bool_)
        self._states = np.zeros((16, self._model.units))
        self._received = np.full(16, -np.inf)
        self.names: list[str] = []
        self.skipped: Counter[str] = Counter()
        self.thresholds = AlertThresholds(self._model.level)

    @property
    def model_version(self) -> str:
        """Version of the model, included in every event."""
        return self._model.version

    @property
    def episodes_running(self) -> int:
        """Number of sensors in an episode."""
        return self._find_running_rows().size

    def assign_row(self, sensor: str) -> int:
        """Return the row of a sensor in batches; a new sensor gets the next row."""
        row = self._rows.get(sensor)
        if row is None:
            row = self._rows[sensor] = len(self.names)
            self.names.append(sensor)
            self.thresholds.add()
            self._baselines.reserve(row + 1)
            if row == self._episodes.size:
                self._episodes = np.concatenate([self._episodes, make_idle(row)])
                self._in_episode = np.concatenate([self._in_episode, np.zeros(row, np.bool_)])
                self._states = np.concatenate([self._states, np.zeros_like(self._states)])
                self._received = np.concatenate([self._received, np.full(row, -np.inf)])
        return row

    def snapshot(self) -> bytes:
        """Return the state as versioned bytes."""
        n = len(self.names)
        out = io.BytesIO()
        np.savez(
            out,
            allow_pickle=False,
            format=np.array(_FORMAT),
            model_version=np.array(self.model_version),
            names=np.array(self.names, dtype=np.str_),
            baselines=self._baselines.state.block[:, :n],
            episodes=self._episodes[:n],
            states=self._states[:n],
            received=self._received[:n],
            thresholds=self.thresholds.to_array(),
        )
        return out.getvalue()

    @classmethod
    def restore(
        cls, body: bytes, model: Model | None = None, observer: PulseObserver | None = None
    ) -> Detector:
        """Return a detector that continues where `snapshot` was taken.

        Raises
        ------
        SnapshotError
            If the bytes are not a snapshot of this format and model.
        """
        detector = cls(model, observer)
        try:
            with np.load(io.BytesIO(body), allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            found = int(arrays["format"]), str(arrays["model_version"])
            if found != (_FORMAT, detector.model_version) or arrays["episodes"].dtype != EPISODE:
                raise SnapshotError(f"snapshot of format {found[0]} and model {found[1]}")
            names = [str(name) for name in arrays["names"]]
            baselines = np.ascontiguousarray(arrays["baselines"])
            episodes, states = arrays["episodes"].copy(), arrays["states"]
            received = np.array(arrays["received"])
            thresholds = AlertThresholds.from_array(arrays["thresholds"], detector._model.level)
        except (KeyError, ValueError, OSError, EOFError, BadZipFile) as error:
            raise SnapshotError(f"not a detector snapshot: {error}") from error
        n = len(names)
        shapes = (baselines.shape, episodes.shape, states.shape, (len(thresholds),), received.shape)
        if shapes != ((WIDTH, n), (n,), (n, detector._model.units), (n,), (n,)):
            raise SnapshotError(f"snapshot of shapes {shapes}")
        if names:
            detector.names, detector.thresholds, detector._episodes = names, thresholds, episodes
            detector._baselines, detector._states = BaselineTracker(baselines), states
            detector._received = received
            detector._in_episode = episodes["phase"] != IDLE
            detector._rows = {name: row for row, name in enumerate(names)}
        return detector

    def step(self, batch: ReadingBatch) -> list[Event]:
        """Return the events that these readings cause, in the order of the readings.

        Parameters
        ----------
        batch : ReadingBatch
            Each sensor's readings must be in order of time; sensors may be mixed. NaN means absent.
            The arrays are not modified.
        """
        events: list[tuple[int, Event]] = []
        sensor, time, x = batch.sensor, batch.time, select_channels(batch.values)
        self._received[sensor] = time if batch.received is None else batch.received
        if sensor.size == 1 or (sensor[1:] > sensor[:-1]).all():
            self._step_round(np.arange(sensor.size), sensor, time, x, events)
        else:
            for at in _split_rounds(sensor):
                self._step_round(at, sensor[at], time[at], x.T.take(at, axis=1).T, events)
        events.sort(key=lambda item: item[0])
        return [event for _, event in events]

    def on_time(self, now: float, received: float | None = None) -> list[Event]:
        """End the episodes of sensors that have gone silent.

        Parameters
        ----------
        now : float
            Current time on the readings' clock, Unix seconds.
        received : float, optional
            The current time on the receipt clock; `now` by default.
        """
        rows = self._find_running_rows()
        silent = now - self._baselines.state.time[rows] > SILENT_S
        silent &= (now if received is None else received) - self._received[rows] > SILENT_S
        return self._end_silent(rows[silent])

    def end_answered(self, is_answered: Callable[[str], bool]) -> list[Event]:
        """End the events of (possible) vaping and smoke that staff have answered; return the ends.

        `is_answered` takes an event id. Afterward, vaping is reported again only for a new pulse,
        and smoke only if it is still rising, each as a new event.
        """
        rows = self._find_running_rows()
        found = self._episodes["phase"][rows] == ALERTED
        found &= np.isin(self._episodes["kind"][rows], (alert_rules.VAPE, alert_rules.SMOKE))
        found |= ~np.isnan(self._episodes["possible_at"][rows])
        ended: list[Event] = []
        for row in rows[found].tolist():
            episode, now = self._episodes[row], float(self._baselines.state.time[row])
            possible = not np.isnan(episode["possible_at"])
            kind, onset = _identify(episode, possible=possible)
            if not is_answered(make_event_id(self.names[row], onset, kind, self.model_version)):
                continue
            end = float(episode["last_vape_at"]) if kind is EventKind.VAPE else now
            ended.append(
                self._build_event(row, episode, EventPhase.ENDED, now, end, possible=possible)
            )
            episode["answered_at"] = now
            if possible:
                episode["possible_at"] = np.nan
            else:
                episode["phase"] = OPEN
                episode["is_masked"] = False
        return ended

    def set_back(self, now: float) -> list[Event]:
        """Restart the sensors with readings later than `now`; return the events that end.

        Call this when the readings' clock was set back. Otherwise, all new readings would be
        ignored as too old.
        """
        rows = np.flatnonzero(self._baselines.state.time[: len(self.names)] > now)
        ended = self._end_silent(rows[self._in_episode[rows]])
        self._baselines.restart(rows, np.full(rows.size, now))
        return ended

    def move_clock(self, now: float, by_s: float, sensors: Container[str]) -> list[Event]:
        """Adjust to a step of the receipt clock; return the events that end.

        Events are identified by their onset, so episodes with an event end. If the plume goes on
        rising, it becomes a new event.

        Parameters
        ----------
        now, by_s : float
            The clock's time after the step in Unix seconds, and the step in seconds, negative if
            the clock was set back.
        sensors : container of str
            Sensors whose readings use this clock. Sensors with readings later than `now` are
            always included.
        """
        ours = np.array([name in sensors for name in self.names], np.bool_)
        rows = np.flatnonzero(ours | (self._baselines.state.time[: ours.size] > now))
        ended = self._move(rows, by_s)
        self._received += by_s
        return ended

    def go_back(self, sensor: str, time: float, received: float) -> list[Event]:
        """Let a sensor continue at an earlier time; return the events that end.

        Call this when a sensor sends time stamps again after its readings were dated at receipt.
        The reading at `time` then follows the previous one by the interval between their receipts.
        Episodes with an event end only if the sensor goes back by more than `_NEAR_S`.
        """
        row = self._rows.get(sensor)
        if row is None:
            return []
        state, since = self._baselines.state, max(received - self._received[row], MIN_S)
        particles_at = state.particle_time[row]
        by_s = time - since - (state.time[row] if np.isnan(particles_at) else particles_at)
        if -by_s > _NEAR_S or not self._in_episode[row]:
            return self._move(np.array([row]), by_s)
        state.time[row] += by_s
        state.particle_time[row] += by_s
        return []

    def _move(self, rows: NDArray[np.intp], by_s: float) -> list[Event]:
        """Shift the times of sensors by `by_s`; return the events that end."""
        episodes = take(self._episodes, rows)
        known = (episodes["phase"] == ALERTED) | alert_rules.is_possible(episodes)
        ended = self._end_silent(rows[known], after_s=0.0)
        for name in TIMES:
            self._episodes[name][rows] += by_s
        state = self._baselines.state
        for times in (state.time, state.particle_time, state.first):
            times[rows] += by_s
        return ended

    def _find_running_rows(self) -> NDArray[np.intp]:
        return self._in_episode.nonzero()[0]

    def _step_round(
        self,
        at: NDArray[np.intp],
        rows: NDArray[np.int32],
        time: Floats,
        x: Floats,
        events: list[tuple[int, Event]],
    ) -> None:
        """Process one reading from each of several sensors, in ascending order of rows."""
        absent = np.isnan(x[:, FINE])
        dt = time - self._baselines.state.particle_time[rows]
        if absent.any() or not (dt.size and dt.min() > 0.0 and dt.max() <= SILENT_S):
            dt = self._baselines.compute_dt(rows, time, absent)
            keep = ~(dt <= 0)
            self.skipped.update(self.names[row] for row in rows[~keep].tolist())
            at, rows, time, x, dt = at[keep], rows[keep], time[keep], x[keep], dt[keep]
            absent = absent[keep]
            if not rows.size:
                return
            dt = self._restart_after_gaps(at, rows, time, dt, events)

        self.thresholds.advance(rows, time, dt)
        in_episode = self._in_episode[rows]
        change = self._baselines.advance(rows, in_episode, time, dt, x, absent.nonzero()[0])
        if change is None:
            return
        b = change.reading
        episode = take(self._episodes, rows[b])
        here = _Round(at[b], rows[b], time[b], dt[b], x.T.take(b, axis=1).T, episode, events)
        o = change.opens.nonzero()[0]
        if o.size:
            opened = take(episode, o)
            open_episodes(
                opened, here.time[o], here.dt[o], here.x[o], change.last[o], change.baseline[o]
            )
            put(episode, o, opened)
            self._states[here.rows[o]] = 0.0
        begin_pulses(episode, here.time, here.dt, here.x, change)
        follow(episode, here.time, here.x)
        self._score_and_alert(here, change)
        put(self._episodes, here.rows, episode)
        self._in_episode[here.rows] = episode["phase"] != IDLE

    def _score_and_alert(self, here: _Round, change: Change) -> None:
        """Score the pulses, alert, and end episodes that are over."""
        episode, time, dt, x = here.episode, here.time, here.dt, here.x
        age = time - episode["pulse_onset"]
        is_pulse = (episode["pulses"] > 0) & (age <= SCORED_S) & ~np.isnan(x[:, FINE])
        over = find_ended(episode, time, x)
        stage, stage_before = alert_rules.count_stages(
            np.array([time, time - dt]) - episode["onset"]
        )
        asked = (over | (stage > stage_before)) & (episode["phase"] == OPEN)
        moment, moment_before = alert_rules.count_moments(np.array([age, age - dt]))
        due = is_pulse & (moment > moment_before)
        w = (due | asked).nonzero()[0]
        vape, possible, near, rare = np.zeros((4, here.rows.size), np.bool_)
        if w.size:
            f = compute_features(
                take(episode, w),
                time[w],
                x[w],
                change.fine_noise[w],
                self._baselines.state.interval[here.rows[w]],
                change.last[w, FINE],
                dt[w],
                change.over[w],
            )
            d = due[w]
            vape[w[d]], near[w[d]], rare[w[d]] = self._score_pulses(here, w[d], f[d])
            large = alert_rules.is_large(take(episode, w[d]), age[w[d]], self._model.level)
            possible[w[d]] = near[w[d]] | large
            if self._observer is not None:
                self._observer.on_features(
                    self.names, here.rows[w], time[w], episode[w], f, d, asked[w]
                )
            episode["last_vape_at"][vape] = time[vape]
        self._end_sessions(here)
        if np.count_nonzero(vape):
            alerted_before = episode["pulses"] == episode["alerted_pulse"]
            alerted_before &= episode["kind"] == alert_rules.VAPE
            alerted_before |= alert_rules.is_answered(episode)
            vape &= ~(alert_rules.is_alerted_vaping(episode) | alerted_before)
        if np.count_nonzero(possible):
            # An alert of another kind explains its own pulse, but not later ones.
            possible &= ~alert_rules.is_alerted_vaping(episode) & ~alert_rules.is_possible(episode)
            possible &= episode["pulses"] != episode["alerted_pulse"]
            possible &= ~alert_rules.is_answered(episode)
        candidates = (vape | possible | asked)[w].nonzero()[0]
        if candidates.size:
            chances = alert_rules.drop_unseen_kinds(
                self._model.predict_kinds(f[candidates]), take(episode, w[candidates])
            )
            unclear = alert_rules.is_unclear(chances)
            for k, i in enumerate(w[candidates].tolist()):
                if vape[i] and episode["phase"][i] == ALERTED:
                    self._end(here, i)
                    episode["is_masked"][i] = True
                if vape[i] or asked[i]:
                    self._alert(here, i, chances[k], is_vape=bool(vape[i]), is_over=bool(over[i]))
                is_explained = episode["pulses"][i] == episode["alerted_pulse"][i]
                if possible[i] and not is_explained and (near[i] or unclear[k]):
                    why = _LARGE if not near[i] else _RARE if rare[i] else _NEAR
                    self._report_possible(here, i, chances[k], why)
        self._end_over(here, over, age)

    def _end_over(self, here: _Round, over: Flags, age: Floats) -> None:
        """End episodes that are over, and possible vaping that is no longer scored."""
        episode, time, x = here.episode, here.time, here.x
        final = over | (age > SCORED_S)
        for i in (alert_rules.is_possible(episode) & final).nonzero()[0].tolist():
            self._end_possible(here, i)
        for i in over.nonzero()[0].tolist():
            self._end(here, i)
            episode["phase"][i] = IDLE
            if time[i] - episode["onset"][i] > LONGEST_S:
                known = ~np.isnan(x[i])
                self._baselines.state.baseline[known, here.rows[i]] = x[i][known]

    def _score_pulses(self, here: _Round, due: NDArray[np.intp], f: Floats) -> NDArray[np.bool_]:
        """Score pulses; return three rows of flags: passes the threshold, is near it, is ambiguous.

        A pulse is ambiguous if its sensor reports too rarely to distinguish it from a spray. An
        ambiguous pulse does not pass. All three flags are False for a pulse too faint or too early
        to alert.
        """
        if not due.size:
            return np.zeros((3, 0), np.bool_)
        episode, rows, time = here.episode, here.rows[due], here.time[due]
        score, self._states[rows] = self._model.score_vaping(f, self._states[rows])
        episode["log_odds"][due] = score
        # After a vaping alert, also score how likely a THC cartridge is: its aerosol persists.
        alerted = alert_rules.is_alerted_vaping(episode)[due]
        if np.count_nonzero(alerted):
            alerted &= time - episode["peak_at"][due] >= alert_rules.THC_FROM_S
            episode["thc_log_odds"][due[alerted]] = self._model.score_thc(f[alerted])
        scored = take(episode, due)
        above = score - (self._model.level + self.thresholds.get_offsets(rows))
        may_alert = ~(alert_rules.is_faint(scored) | alert_rules.is_early(scored, f))
        self.thresholds.observe(rows[may_alert], time[may_alert], score[may_alert])
        unclear = alert_rules.is_ambiguous(scored, f)
        passes = above >= 0.0
        near = passes | alert_rules.is_near(scored, f, self._model.level)
        return np.array([passes & ~unclear, near, unclear]) & may_alert

    def _end_sessions(self, here: _Round) -> None:
        """End vaping events whose scores have been too low for a while, even in a running episode.

        This makes the next session in a busy hour a separate event.
        """
        episode, s = here.episode, alert_rules.is_alerted_vaping(here.episode).nonzero()[0]
        if not s.size:
            return
        over = (here.time[s] - here.dt[s] - episode["alerted"][s] > SESSION_S) & (
            here.time[s] - episode["last_vape_at"][s] > SESSION_S
        )
        over &= ~(
            alert_rules.compute_share_left(take(episode, s), here.x[s]) > alert_rules.PERSISTS_SHARE
        )
        for i in s[over].tolist():
            self._emit(here, i, EventPhase.ENDED, episode["last_vape_at"][i])
            episode["phase"][i] = OPEN
            episode["first_pulse_onset"][i] = np.nan
            episode["session_onset"][i] = episode["pulse_onset"][i]
            episode["is_masked"][i] = False

    def _alert(
        self, here: _Round, i: int, chances: Floats, *, is_vape: bool, is_over: bool
    ) -> None:
        """Alert on vaping that passes the threshold, or on another kind that is clear.

        At the end of the episode, a kind other than smoke need not be clear. If vaping is likeliest
        but below the alert threshold, no other kind is alerted either.
        """
        e = here.episode[i : i + 1]
        if is_vape:
            kind = alert_rules.VAPE
            if chances[1:].max() >= alert_rules.MASK_PROBABILITY:
                e["is_masked"] = True
            e["thc_log_odds"] = -np.inf
            # If a spray or steam masks the vaping, it may also have caused the earlier pulses.
            e["alerted_onset"] = e["pulse_onset" if e["is_masked"][0] else "session_onset"]
            chances = alert_rules.compute_probabilities(e["log_odds"], chances[None])[0]
        else:
            kind = int(np.argmax(chances))
            is_clear = chances[kind] >= alert_rules.CLEAR[kind]
            is_old = here.time[i] - e["onset"][0] >= alert_rules.CLEAR_AFTER_S[kind]
            if kind == alert_rules.VAPE or not (is_over or (is_clear and is_old)):
                return
            if kind == alert_rules.SMOKE and (
                (is_over and not is_clear) or alert_rules.is_answered_smoke(e)[0]
            ):
                return
            e["alerted_onset"] = np.fmax(e["onset"], e["answered_at"])
        if alert_rules.is_possible(e)[0]:
            self._end_possible(here, i)
        e["phase"] = ALERTED
        e["kind"] = kind
        e["alerted"] = here.time[i]
        e["alerted_pulse"] = e["pulses"]
        e["confidence"] = chances[kind]
        e["probabilities"] = chances / max(float(chances.sum()), 1e-12)
        self._emit(here, i, EventPhase.ALERTED)

    def _report_possible(self, here: _Round, i: int, chances: Floats, why: int) -> None:
        """Report possible vaping, once per pulse."""
        e = here.episode[i : i + 1]
        e["possible_at"], e["possible_onset"] = here.time[i], e["pulse_onset"]
        e["possible_why"] = why
        chances = alert_rules.compute_probabilities(e["log_odds"], chances[None])
        e["possible_probabilities"] = chances
        self._emit(here, i, EventPhase.ALERTED, possible=True)

    def _end_possible(self, here: _Round, i: int) -> None:
        self._emit(here, i, EventPhase.ENDED, here.time[i], possible=True)
        here.episode["possible_at"][i] = np.nan

    def _restart_after_gaps(
        self,
        at: NDArray[np.intp],
        rows: NDArray[np.int32],
        time: Floats,
        dt: Floats,
        events: list[tuple[int, Event]],
    ) -> Floats:
        """End episodes interrupted by a silence, restart sensors after gaps; return time steps."""
        silent = (dt > SILENT_S) & self._in_episode[rows]
        for i in np.flatnonzero(silent).tolist():
            events.extend((int(at[i]), event) for event in self._end_silent(rows[i : i + 1]))
        unknown, gap = ~(dt <= HISTORY_S), dt > GAP_S
        resumed = gap & ~unknown & (self._baselines.state.count[rows] > 0.0)
        fresh = unknown | (gap & ~resumed)
        self._baselines.restart(rows[fresh], time[fresh])
        self._baselines.resume(rows[resumed], time[resumed])
        return np.where(fresh | resumed, 0.0, dt)

    def _end_silent(self, rows: NDArray[np.integer], after_s: float = SILENT_S) -> list[Event]:
        """End the episodes of sensors, dated `after_s` seconds after their last readings."""
        ended = []
        for row in rows.tolist():
            last, episode = float(self._baselines.state.time[row]), self._episodes[row]
            if not np.isnan(episode["possible_at"]):
                over = last + after_s
                ended.append(
                    self._build_event(row, episode, EventPhase.ENDED, over, over, possible=True)
                )
            if episode["phase"] == ALERTED:
                end = last if np.isnan(episode["back_since"]) else episode["back_since"]
                at = last + after_s
                ended.append(
                    self._build_event(row, episode, EventPhase.ENDED, at, end, possible=False)
                )
            episode["phase"] = IDLE
            self._in_episode[row] = False
        return ended

    def _end(self, here: _Round, i: int) -> None:
        """Emit the end of an episode's event, if one was alerted."""
        if here.episode["phase"][i] == ALERTED:
            back_since = here.episode["back_since"][i]
            end = here.time[i] if np.isnan(back_since) else back_since
            self._emit(here, i, EventPhase.ENDED, end)

    def _emit(
        self,
        here: _Round,
        i: int,
        phase: EventPhase,
        end: float | None = None,
        *,
        possible: bool = False,
    ) -> None:
        row, time = int(here.rows[i]), float(here.time[i])
        event = self._build_event(row, here.episode[i], phase, time, end, possible=possible)
        here.events.append((int(here.at[i]), event))

    def _build_event(
        self,
        row: int,
        episode: np.void,
        phase: EventPhase,
        time: float,
        end: float | None,
        *,
        possible: bool,
    ) -> Event:
        """Return the event of an episode's alert, or of its possible vaping."""
        kind, onset = _identify(episode, possible=possible)
        is_vape = kind is EventKind.VAPE
        alerted = float(episode["possible_at" if possible else "alerted"])
        chances = episode["possible_probabilities" if possible else "probabilities"].tolist()
        odds = {kind.value: round(p, 4) for kind, p in zip(KINDS, chances, strict=True)}
        peak_at, confidence = float(episode["peak_at"]), float(episode["confidence"])
        return Event(
            sensor=self.names[row],
            kind=kind,
            phase=phase,
            onset=onset,
            alerted=alerted,
            peak_time=alerted if np.isnan(peak_at) else peak_at,
            end=None if end is None else float(end),
            confidence=odds[EventKind.VAPE] if possible else round(confidence, 4),
            probabilities=odds,
            evidence=alert_rules.build_evidence(episode, pulse=possible or is_vape),
            masked=is_vape and bool(episode["is_masked"]),
            thc_likely=is_vape and bool(episode["thc_log_odds"] >= alert_rules.THC_LOG_ODDS),
            details=_WHY_POSSIBLE[int(episode["possible_why"])] if possible else (),
            model_version=self.model_version,
            time=time,
        )


def _identify(episode: np.void, *, possible: bool) -> tuple[EventKind, float]:
    """Return kind and onset of an episode's alert, or of its possible vaping."""
    kind = EventKind.POSSIBLE if possible else KINDS[int(episode["kind"])]
    return kind, float(episode["possible_onset" if possible else "alerted_onset"])


def _split_rounds(sensor: NDArray[np.int32]) -> list[NDArray[np.intp]]:
    """Split positions into parts with at most one reading per sensor, keeping each sensor's order.

    Within a part, sensors are in ascending order, so that neighbors can be advanced together.

    Examples
    --------
    >>> [part.tolist() for part in _split_rounds(np.array([3, 5, 3, 3], np.int32))]
    [[0, 1], [2], [3]]
    """
    order = sensor.argsort(kind="stable")
    ordered = sensor[order]
    again = ordered[1:] == ordered[:-1]
    if not again.any():
        return [order]
    starts = np.r_[0, (~again).nonzero()[0] + 1]
    occurrence = np.arange(sensor.size) - np.repeat(starts, np.diff(np.r_[starts, sensor.size]))
    by_occurrence = occurrence.argsort(kind="stable")
    at = order[by_occurrence]
    bounds = (np.diff(occurrence[by_occurrence]).nonzero()[0] + 1).tolist()
    return [at[a:b] for a, b in pairwise([0, *bounds, sensor.size])]
