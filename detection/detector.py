"""The streaming detector: readings in, events out, no clock and no I/O.

Each reading moves its sensor's baselines on (`detection.tracking`). A clear rise opens an episode,
whose facts are followed (`detection.episodes`) and weighed by the model (`detection.model`); this
module says when to speak. `vape` is said once per episode, as soon as its log-odds pass the
sensor's decision level; it is withdrawn if what follows contradicts it. Other kinds are said when
they are clear, or when the episode ends.

Time is the time of the readings: when they stop, so does the detector, until `on_time` says how
late it is. Any split of a stream into batches gives the same events. A sensor is not judged before
it has been read for `WARM_UP_S`; readings not newer than a sensor's last are ignored.
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Final

import numpy as np

from detection.alert_thresholds import AlertThresholds
from detection.channels import CHANNEL_INDEX, CHANNELS, FINE, OPENERS, RISE, VOC, channel_matrix
from detection.episodes import SESSION_S, begin_pulses, facts, follow, open_episodes
from detection.episodes import EpisodeColumn as E
from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from detection.model import KINDS, Model
from detection.motion import Q
from detection.tracking import Tracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from detection.batch import ReadingBatch
    from detection.motion import Motion

GAP_S: Final = 900.0
SILENT_S: Final = 300.0
LONGEST_S: Final = 3600.0
QUIET_S: Final = 45.0
JUDGED_S: Final = 240.0
"""A pulse is weighed this long; what it is shows within minutes."""
WITHDRAW_S: Final = 30.0
STAYS_S: Final = 240.0
_STAYS_FROM_S: Final = 90.0
_STAYS_SHARE: Final = 0.6
_IDLE, _WATCHING, _SAID = 0.0, 1.0, 2.0
_RH = CHANNEL_INDEX["rh"]
_FINE_COLUMNS = tuple(CHANNEL_INDEX[k] for k in ("pm25", "pm1", "pm10", "n03"))
_VAPE, _SMOKE = 0, 1
_COVER: Final = 0.6
"""Probability of another kind from which vaping that is said beside it counts as masked."""
_THC_FROM_S: Final = 20.0
_THC_LIKELY: Final = 0.85
"""Log-odds, and seconds since the peak from which an aerosol shows whether it stays."""
_CLEAR: Final = 0.7
_CLEAR_SMOKE: Final = 0.85


class Detector:
    """Detect events in the readings of many sensors.

    Parameters
    ----------
    model : Model, optional
        Parameters; those shipped by default.

    Examples
    --------
    >>> detector = Detector()
    >>> detector.sensor_row("N2-boys"), detector.sensor_row("N2-girls")
    (0, 1)
    """

    def __init__(self, model: Model | None = None) -> None:
        self._model = model or Model.shipped()
        self._state = Tracker()
        self._rows: dict[str, int] = {}
        self.levels = AlertThresholds(self._model.level)
        self.collect: Callable[..., None] | None = None

    @property
    def model_version(self) -> str:
        """Version of the parameters, named in every event."""
        return self._model.version

    @property
    def names(self) -> list[str]:
        """Names of the sensors, by row."""
        return self._state.names

    def sensor_row(self, sensor: str) -> int:
        """Row of a sensor in batches; a new sensor gets the next one."""
        row = self._rows.get(sensor)
        if row is None:
            row = self._rows[sensor] = self._state.add(sensor)
            self.levels.add()
        return row

    def snapshot(self) -> bytes:
        """State as versioned bytes."""
        return self._state.snapshot(self.model_version, self.levels)

    @classmethod
    def restore(cls, body: bytes, model: Model | None = None) -> Detector:
        """Detector that continues where `snapshot` was taken.

        Raises
        ------
        SnapshotError
            If the bytes are no snapshot of this format.
        """
        detector = cls(model)
        detector._state, detector.levels = Tracker.restore(body, detector._model.level)
        detector._rows = {name: row for row, name in enumerate(detector._state.names)}
        return detector

    def step(self, batch: ReadingBatch) -> list[Event]:
        """Take readings in and return what is now known.

        Parameters
        ----------
        batch : ReadingBatch
            In any order over sensors; of one sensor in order of time. NaN means absent. The arrays
            are not written to.

        Returns
        -------
        list of Event
            In order of the readings that decided them.
        """
        said: list[tuple[int, Event]] = []
        sensor, time, x = batch.sensor, batch.time, channel_matrix(batch.values)
        if sensor.size == 1 or (sensor[1:] > sensor[:-1]).all():
            self._step_round(np.arange(sensor.size), sensor, time, x, said)
        else:
            for at in _rounds(sensor):
                self._step_round(at, sensor[at], time[at], x.T.take(at, axis=1).T, said)
        said.sort(key=lambda item: item[0])
        return [event for _, event in said]

    def on_time(self, now: float) -> list[Event]:
        """Close the episodes of sensors that have fallen silent.

        Parameters
        ----------
        now : float
            Unix seconds on the clock of the readings.
        """
        n = len(self._state.names)
        running = self._state.episode[:n, E.PHASE] != _IDLE
        late = now - self._state.quiet[:n, Q.TIME] > SILENT_S
        rows = np.flatnonzero(running & late).tolist()
        return [event for row in rows if (event := self._close_silent(row)) is not None]

    def set_back(self, now: float) -> list[Event]:
        """Begin anew with the sensors that were read later than `now`; return what that ends.

        For readings on a clock that was set back: they would all be too old.

        Parameters
        ----------
        now : float
            Unix seconds, on the clock as it is now.
        """
        n = len(self._state.names)
        rows = np.flatnonzero(self._state.quiet[:n, Q.TIME] > now)
        running = rows[self._state.episode[rows, E.PHASE] != _IDLE].tolist()
        ended = [event for row in running if (event := self._close_silent(row)) is not None]
        self._state.restart(rows, np.full(rows.size, now))
        return ended

    def next_deadline(self) -> float | None:
        """When `on_time` next has something to do, if no reading comes."""
        n = len(self._state.names)
        waiting = self._state.quiet[:n, Q.TIME][self._state.episode[:n, E.PHASE] != _IDLE]
        return float(waiting.min()) + SILENT_S if waiting.size else None

    def _step_round(
        self,
        at: NDArray[np.intp],
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        x: NDArray[np.float64],
        said: list[tuple[int, Event]],
    ) -> None:
        """One reading each of distinct sensors, in ascending order of rows."""
        dt = time - self._state.quiet[rows, Q.TIME]
        if not (dt.size and dt.min() > 0.0 and dt.max() <= SILENT_S):
            keep = ~(dt <= 0)
            at, rows, time, x, dt = at[keep], rows[keep], time[keep], x[keep], dt[keep]
            if not rows.size:
                return
            dt = self._restart(at, rows, time, dt, said)

        self.levels.watch(rows, time, dt)
        moved = self._state.advance(rows, time, dt, x)
        if moved is None:
            return
        b = moved.reading
        at, rows, time, x, dt = at[b], rows[b], time[b], x[b], dt[b]
        interval = self._state.quiet[:, Q.INTERVAL][rows]
        episode = self._state.episode[rows]
        o = moved.opening.nonzero()[0]
        if o.size:
            opened = episode[o]
            open_episodes(opened, time[o], dt[o], x[o], moved.last[o], moved.base[o])
            episode[o] = opened
        self._pulses(episode, time, dt, x, moved)
        follow(episode, time, x)
        self._judge(at, rows, time, dt, x, interval, moved, episode, said)
        self._state.episode[rows] = episode

    @staticmethod
    def _pulses(
        episode: NDArray[np.float64],
        time: NDArray[np.float64],
        dt: NDArray[np.float64],
        x: NDArray[np.float64],
        moved: Motion,
    ) -> None:
        """Begin a pulse where fine particles rise anew."""
        fine = x[:, FINE]
        peak, low = episode[:, E.PEAK], episode[:, E.TROUGH]
        pulses = episode[:, E.PULSES]
        first = moved.pulse & (pulses == 0)
        trough = low + episode[:, E.PULSE_BASE]
        # After a deep fall a small rise is a new puff; after a shallow one it must be larger.
        share = np.where(low < 0.25 * peak, 0.1, 0.3)
        least = np.maximum(np.maximum(4.0, 5.0 * moved.fine_noise), share * peak)
        again = (pulses > 0) & (low < 0.6 * peak) & (fine - trough > least)
        begin = np.flatnonzero(first | again)
        if not begin.size:
            return
        floor = np.where(first, np.minimum(moved.local, moved.last[:, FINE]), trough)
        floor = np.where(np.isnan(floor), moved.local, floor)
        part = episode[begin]
        begin_pulses(part, time[begin], dt[begin], x[begin], moved.last[begin], floor[begin])
        episode[begin] = part

    def _judge(
        self,
        at: NDArray[np.intp],
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        dt: NDArray[np.float64],
        x: NDArray[np.float64],
        interval: NDArray[np.float64],
        moved: Motion,
        episode: NDArray[np.float64],
        said: list[tuple[int, Event]],
    ) -> None:
        """Weigh the pulses, speak, and end what is over."""
        age = time - episode[:, E.PULSE_ONSET]
        weighed = (episode[:, E.PULSES] > 0) & (age <= JUDGED_S) & ~np.isnan(x[:, FINE])
        over = self._over(time, x, episode)
        stage, before = _stage(np.array([time, time - dt]) - episode[:, E.ONSET])
        asked = (over | (stage > before)) & (episode[:, E.PHASE] == _WATCHING)
        moment, earlier = _moment(np.array([age, age - dt]))
        due = weighed & (moment > earlier)
        w = np.flatnonzero((due if self.collect is None else weighed) | asked)
        vape = np.zeros(rows.size, np.bool_)
        if w.size:
            f = facts(
                episode[w],
                time[w],
                x[w],
                moved.fine_noise[w],
                interval[w],
                moved.last[w, FINE],
                dt[w],
                moved.over[w],
            )
            if self.collect is not None:
                self.collect(rows[w], time[w], episode[w], f, weighed[w], asked[w])
            v = due[w]
            vape[w[v]] = self._weigh(rows[w[v]], time[w[v]], episode, w[v], f[v])
            episode[vape, E.LAST_VAPE] = time[vape]
        self._end_sessions(at, rows, time, dt, episode, said)
        if vape.any():
            kind, pulses = episode[:, E.KIND], episode[:, E.PULSES]
            silent = (episode[:, E.PHASE] == _WATCHING) | (kind != _VAPE)
            told = (kind == _VAPE) & (pulses == episode[:, E.SAID_PULSE])
            vape &= silent & (episode[:, E.BARRED] == 0.0) & ~told
        speak = np.flatnonzero((vape | asked)[w]) if w.size else w
        if speak.size:
            chances = possible(self._model.kind_probabilities(f[speak]), episode[w[speak]])
            for k, i in enumerate(w[speak].tolist()):
                if vape[i] and episode[i, E.PHASE] == _SAID:
                    ended = self._end(rows[i], episode[i], float(time[i]))
                    said.extend((int(at[i]), event) for event in ended)
                    episode[i, E.MASKED] = 1.0
                self._speak(i, at, rows, time, episode, chances[k], vape[i], over[i], said)
        for i in self._taken_back(time, dt, x, episode, weighed).tolist():
            event = self._event(rows[i], episode[i], EventPhase.WITHDRAWN, time[i], float(time[i]))
            said.append((int(at[i]), event))
            episode[i, E.PHASE] = _WATCHING
        for i in np.flatnonzero(over).tolist():
            ended = self._end(rows[i], episode[i], float(time[i]))
            said.extend((int(at[i]), event) for event in ended)
            episode[i, E.PHASE] = _IDLE
            if time[i] - episode[i, E.ONSET] > LONGEST_S:
                known = ~np.isnan(x[i])
                base = self._state.quiet[rows[i], Q.BASE]
                base[known] = x[i][known]

    def _weigh(
        self,
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        episode: NDArray[np.float64],
        weighed: NDArray[np.intp],
        f: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Score pulses, and return whether each is surely enough vaping."""
        if not rows.size:
            return np.zeros(0, np.bool_)
        score = self._model.vape_score(f)
        episode[weighed, E.SCORE] = score
        self.levels.observe(rows, time, score)
        # Vaping that was said and hardly evaporates is weighed as of a THC cartridge.
        said = (episode[weighed, E.PHASE] == _SAID) & (episode[weighed, E.KIND] == _VAPE)
        if said.any():
            said &= time - episode[weighed, E.PEAK_AT] >= _THC_FROM_S
            episode[weighed[said], E.THC] = self._model.thc_score(f[said])
        enough: NDArray[np.bool_] = score >= self._model.level + self.levels.offset(rows)
        return enough

    def _end_sessions(
        self,
        at: NDArray[np.intp],
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        dt: NDArray[np.float64],
        episode: NDArray[np.float64],
        said: list[tuple[int, Event]],
    ) -> None:
        """End vaping that has not been seen for a while, though other things go on in the room.

        The next session of a busy hour is an event of its own.
        """
        s = _vaping_said(episode)
        if not s.size:
            return
        over = (time[s] - dt[s] - episode[s, E.ALERTED] > STAYS_S) & (
            time[s] - episode[s, E.LAST_VAPE] > SESSION_S
        )
        for i in s[over].tolist():
            end = float(episode[i, E.LAST_VAPE])
            event = self._event(rows[i], episode[i], EventPhase.ENDED, time[i], end)
            said.append((int(at[i]), event))
            episode[i, E.PHASE] = _WATCHING
            episode[i, E.FIRST_PULSE_AT] = np.nan
            episode[i, E.SESSION_AT] = episode[i, E.PULSE_ONSET]
            episode[i, E.LOW] = np.inf
            episode[i, E.MASKED] = 0.0

    def _taken_back(
        self,
        time: NDArray[np.float64],
        dt: NDArray[np.float64],
        x: NDArray[np.float64],
        episode: NDArray[np.float64],
        weighed: NDArray[np.bool_],
    ) -> NDArray[np.intp]:
        """Which of what was called vaping is not, by its score, or stays as no vapour would."""
        s = _vaping_said(episode)
        if not s.size:
            return s
        e, since = episode[s], time[s] - episode[s, E.ALERTED]
        unlike = (
            weighed[s]
            & (e[:, E.PULSES] == e[:, E.SAID_PULSE])
            & (e[:, E.SCORE] < self._model.withdraw_level)
            & (since >= WITHDRAW_S)
        )
        calm = e[:, E.CALM][:, FINE]
        highest = np.maximum(e[:, E.HIGHEST][:, FINE] - calm, 4.0)
        share = (x[s, FINE] - calm) / highest
        low = np.where(since >= _STAYS_FROM_S, np.fmin(e[:, E.LOW], share), np.inf)
        episode[s, E.LOW] = low
        due = (since >= STAYS_S) & (since - dt[s] < STAYS_S)
        stays = due & (low > _STAYS_SHARE) & np.isfinite(low)
        episode[s[stays], E.BARRED] = 1.0
        back: NDArray[np.intp] = s[unlike | stays]
        return back

    def _speak(
        self,
        i: int,
        at: NDArray[np.intp],
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        episode: NDArray[np.float64],
        chances: NDArray[np.float64],
        vape: np.bool_,
        over: np.bool_,
        said: list[tuple[int, Event]],
    ) -> None:
        """Say vaping when its score allows, another kind when it is clear or all is over.

        What looks most like vaping, though not surely enough to be said, is called nothing else.
        What has been shown to stay as no vapour does is weighed among the other kinds.
        """
        if vape:
            kind = _VAPE
            if chances[1:].max() >= _COVER:
                episode[i, E.MASKED] = 1.0
            episode[i, E.THC] = -np.inf
            # Pulses before it may have been of what it is masked by.
            alone = episode[i, E.MASKED] == 1.0
            episode[i, E.SAID_ONSET] = episode[i, E.PULSE_ONSET if alone else E.SESSION_AT]
            odds = 1.0 / (1.0 + np.exp(-episode[i, E.SCORE]))
            rest = chances[1:] / max(float(chances[1:].sum()), 1e-12)
            chances = np.concatenate([[odds], (1.0 - odds) * rest])
        else:
            if episode[i, E.BARRED] == 1.0:
                chances[_VAPE] = 0.0
                chances /= max(float(chances.sum()), 1e-12)
            kind = int(np.argmax(chances))
            if kind == _VAPE:
                return
            clear = chances[kind] >= (_CLEAR_SMOKE if kind == _SMOKE else _CLEAR)
            old = time[i] - episode[i, E.ONSET] >= (120.0 if kind == _SMOKE else 60.0)
            if not (clear and old) and not over:
                return
            if over and not clear and kind == _SMOKE:
                return
        episode[i, E.PHASE] = _SAID
        episode[i, E.KIND] = kind
        episode[i, E.ALERTED] = time[i]
        episode[i, E.SAID_PULSE] = episode[i, E.PULSES]
        episode[i, E.CONFIDENCE] = chances[kind]
        episode[i, E.CHANCES] = chances / max(float(chances.sum()), 1e-12)
        said.append((int(at[i]), self._event(rows[i], episode[i], EventPhase.ALERTED, time[i])))

    def _over(
        self,
        time: NDArray[np.float64],
        x: NDArray[np.float64],
        episode: NDArray[np.float64],
    ) -> NDArray[np.bool_]:
        """Whether all channels have been back for a while, or it has lasted too long."""
        calm = episode[:, E.CALM][:, OPENERS]
        highest = episode[:, E.HIGHEST][:, OPENERS] - calm
        out = x[:, OPENERS] - calm > np.maximum(RISE[OPENERS], 0.25 * highest)
        back = ~out.any(axis=1)
        since = episode[:, E.QUIET_SINCE]
        since = np.where(back, np.where(np.isnan(since), time, since), np.nan)
        episode[:, E.QUIET_SINCE] = since
        over: NDArray[np.bool_] = (time - since >= QUIET_S) | (
            time - episode[:, E.ONSET] > LONGEST_S
        )
        return over

    def _restart(
        self,
        at: NDArray[np.intp],
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        dt: NDArray[np.float64],
        said: list[tuple[int, Event]],
    ) -> NDArray[np.float64]:
        """End episodes across a silence; begin anew after a gap: old baselines say nothing."""
        silent = (dt > SILENT_S) & (self._state.episode[rows, E.PHASE] != _IDLE)
        for i in np.flatnonzero(silent).tolist():
            event = self._close_silent(int(rows[i]))
            if event is not None:
                said.append((int(at[i]), event))
        fresh = ~(dt <= GAP_S)
        self._state.restart(rows[fresh], time[fresh])
        return np.where(fresh, 0.0, dt)

    def _close_silent(self, row: int) -> Event | None:
        """End an episode whose sensor fell silent: the same by `step` and by `on_time`."""
        said_at = float(self._state.quiet[row, Q.TIME]) + SILENT_S
        ended = self._end(row, self._state.episode[row], said_at)
        self._state.episode[row, E.PHASE] = _IDLE
        return ended[-1] if ended else None

    def _end(self, row: int, episode: NDArray[np.float64], said_at: float) -> list[Event]:
        """End the event of an episode, if one was said."""
        if episode[E.PHASE] != _SAID:
            return []
        quiet_since = float(episode[E.QUIET_SINCE])
        last = float(self._state.quiet[row, Q.TIME])
        end = last if np.isnan(quiet_since) else quiet_since
        return [self._event(row, episode, EventPhase.ENDED, said_at, end)]

    def _event(
        self,
        row: int,
        episode: NDArray[np.float64],
        phase: EventPhase,
        time: float,
        end: float | None = None,
    ) -> Event:
        kind = KINDS[int(episode[E.KIND])]
        confidence = float(episode[E.CONFIDENCE])
        vape = kind is EventKind.VAPE
        peak_at = float(episode[E.PEAK_AT])
        return Event(
            sensor=self._state.names[row],
            kind=kind,
            phase=phase,
            onset=float(episode[E.SAID_ONSET if vape else E.ONSET]),
            alerted=float(episode[E.ALERTED]),
            peak_time=float(episode[E.ALERTED]) if np.isnan(peak_at) else peak_at,
            end=end,
            confidence=round(confidence, 4),
            probabilities={
                k.value: round(float(p), 4) for k, p in zip(KINDS, episode[E.CHANCES], strict=True)
            },
            evidence=self._evidence(episode, pulse=vape),
            masked=bool(vape and episode[E.MASKED] == 1.0),
            thc_likely=bool(vape and episode[E.THC] >= _THC_LIKELY),
            model_version=self.model_version,
            time=float(time),
        )

    @staticmethod
    def _evidence(episode: NDArray[np.float64], *, pulse: bool) -> dict[str, ChannelEvidence]:
        """How the channels moved: over the pulse that was judged, or over the whole episode."""
        start = episode[E.PULSE_ONSET] if pulse else episode[E.ONSET]
        calm = episode[E.BEFORE] if pulse else episode[E.CALM]
        later = episode[E.HIGHEST_AT] >= start
        top = np.where(later, episode[E.HIGHEST], episode[E.AT_PEAK])
        when = np.where(later, episode[E.HIGHEST_AT], episode[E.PEAK_AT])
        half = float(episode[E.HALF_AT])
        evidence: dict[str, ChannelEvidence] = {}
        known = ~np.isnan(calm) & ~np.isnan(top)
        fine = next((column for column in _FINE_COLUMNS if known[column]), None)
        gas = next((column for column in VOC if known[column]), None)
        for column in (fine, gas, _RH):
            if column is None or not known[column]:
                continue
            sign = -1.0 if CHANNELS[column] == "voc_raw" else 1.0
            evidence[CHANNELS[column]] = ChannelEvidence(
                baseline=round(sign * float(calm[column]), 3),
                peak_excess=round(sign * float(top[column] - calm[column]), 3),
                rise_s=round(float(when[column] - start), 3),
                decay_s=None if column != fine or np.isnan(half) else round(half, 3),
            )
        return evidence


def possible(chances: NDArray[np.float64], episode: NDArray[np.float64]) -> NDArray[np.float64]:
    """Probabilities with those kinds at zero that the sensor could not have seen.

    The rest is left as it is, so that a kind is not called clear for want of channels alone.
    """
    calm = episode[:, E.CALM]
    chances = chances.copy()
    chances[np.isnan(calm[:, VOC]).all(axis=1), KINDS.index(EventKind.VOC)] = 0.0
    chances[np.isnan(calm[:, _RH]), KINDS.index(EventKind.STEAM)] = 0.0
    return chances


def _vaping_said(episode: NDArray[np.float64]) -> NDArray[np.intp]:
    """Rows of which vaping is said now."""
    said = (episode[:, E.PHASE] == _SAID) & (episode[:, E.KIND] == _VAPE)
    rows: NDArray[np.intp] = said.nonzero()[0]
    return rows


def _stage(age: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often an episode has been asked what it is: at 30 s, and at each doubling."""
    stage: NDArray[np.float64] = np.floor(np.log2(np.maximum(age, 15.0) / 15.0))
    return stage


def _moment(age: NDArray[np.float64]) -> NDArray[np.float64]:
    """How often a pulse has been weighed: at each reading at first, ever more seldom later.

    About eight times a doubling of its age, whatever the interval of the sensor.
    """
    moment: NDArray[np.float64] = np.floor(8.0 * np.log2(np.maximum(age, 0.0) / 8.0 + 1.0))
    return moment


def _rounds(sensor: NDArray[np.int32]) -> list[NDArray[np.intp]]:
    """Split positions so that no sensor occurs twice in a part, keeping each sensor's order.

    Within a part sensors ascend, so that neighbours can be moved on together.

    Examples
    --------
    >>> [part.tolist() for part in _rounds(np.array([3, 5, 3, 3], np.int32))]
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
