"""The streaming detector: readings in, events out, no clock and no I/O.

Each sensor keeps a gated baseline and a noise scale of three channels (fine particles, VOC,
relative humidity). A rise of one above its baseline opens an *episode*; while it lasts, its shape
is followed: how high each channel went, how fast particles rose and fell, how coarse they are.
`detection.posterior` turns the shape into class probabilities; this module decides when to speak.

Exhaled nicotine aerosol is told from everything else by what the air itself does: the droplets
evaporate, so the fine excess falls by half within seconds whatever the fan does, while smoke and
salt stay for minutes; a puff holds a milligram of vapour where a spray holds a gram; steam brings
its humidity along. So `vape` is said only after the fall has begun, and it is withdrawn when the
excess comes back and stays.

Time is the time of the readings: when they stop, so does the detector, until `on_time` says how
late it is. Any split of a stream into batches gives the same events. A sensor is not judged before
it has been read for `WARM_UP_S`; readings not newer than a sensor's last are ignored.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from detection.events import ChannelEvidence, Event, EventKind, EventPhase
from detection.posterior import KINDS, MODEL_VERSION, Shape, probabilities
from detection.quantities import COLUMN_INDEX, COLUMNS
from detection.state import SensorState

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from detection.batch import ReadingBatch

__all__ = ["Detector"]

WARM_UP_S: Final = 60.0
_GAP_S: Final = 900.0
_QUIET_S: Final = 60.0
_SILENT_S: Final = 300.0
_LONGEST_S: Final = 3600.0

_PM25, _PM1, _PM10 = (COLUMN_INDEX[k] for k in ("pm25", "pm1", "pm10"))
_RH = COLUMN_INDEX["rh"]
_VOC_COLUMNS = tuple(COLUMN_INDEX[k] for k in ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"))
_FINE, _VOC, _HUMID = 0, 1, 2

# Noise floors and least rises by channel; the VOC ones by quantity, in its unit.
_VOC_FLOOR = np.array([20.0, 50.0, 4.0, 15.0])
_VOC_RISE = np.array([150.0, 400.0, 40.0, 120.0])
_FINE_FLOOR, _FINE_RISE = 0.5, 8.0
_RH_FLOOR, _RH_RISE = 0.3, 5.0

_IDLE, _WATCHING, _SAID = 0, 1, 2
_SURE: Final = 0.65


class Detector:
    """Detect events in the readings of many sensors.

    Examples
    --------
    >>> detector = Detector()
    >>> detector.sensor_row("N2-boys")
    0
    >>> detector.model_version
    'shape-1'
    """

    def __init__(self) -> None:
        self._state = SensorState.empty()
        self._rows: dict[str, int] = {}

    @property
    def model_version(self) -> str:
        """Version of the parameters, named in every event."""
        return MODEL_VERSION

    def sensor_row(self, sensor: str) -> int:
        """Row of a sensor in batches; a new sensor gets the next one."""
        row = self._rows.get(sensor)
        if row is None:
            row = self._rows[sensor] = self._state.add(sensor)
        return row

    def snapshot(self) -> bytes:
        """State as versioned bytes."""
        return self._state.snapshot(self.model_version)

    @classmethod
    def restore(cls, body: bytes) -> Detector:
        """Detector that continues where `snapshot` was taken.

        Raises
        ------
        SnapshotError
            If the bytes are no snapshot of this format.
        """
        detector = cls()
        detector._state, _ = SensorState.restore(body)
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
        events: list[tuple[int, Event]] = []
        for positions in _rounds(batch.sensor):
            self._step_round(
                positions,
                batch.sensor[positions],
                batch.time[positions],
                batch.values[positions],
                events,
            )
        events.sort(key=lambda item: item[0])
        return [event for _, event in events]

    def on_time(self, now: float) -> list[Event]:
        """Close the episodes of sensors that have fallen silent.

        Parameters
        ----------
        now : float
            Unix seconds on the clock of the readings.
        """
        state = self._state
        n = len(state.names)
        open_rows = np.flatnonzero(
            (state.phase[:n] != _IDLE) & (now - state.last_time[:n] > _SILENT_S)
        )
        return [
            event for row in open_rows.tolist() if (event := self._close_silent(row)) is not None
        ]

    def next_deadline(self) -> float | None:
        """When `on_time` next has something to do, if no reading comes."""
        state = self._state
        n = len(state.names)
        waiting = state.last_time[:n][state.phase[:n] != _IDLE]
        return float(waiting.min()) + _SILENT_S if waiting.size else None

    def _step_round(
        self,
        positions: NDArray[np.intp],
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        values: NDArray[np.float64],
        events: list[tuple[int, Event]],
    ) -> None:
        """One reading each of distinct sensors."""
        state = self._state
        newer = ~(time <= state.last_time[rows])
        if not newer.all():
            positions, rows = positions[newer], rows[newer]
            time, values = time[newer], values[newer]
            if not rows.size:
                return
        dt = time - state.last_time[rows]
        silent = (dt > _SILENT_S) & (state.phase[rows] != _IDLE)
        for i in np.flatnonzero(silent).tolist():
            event = self._close_silent(int(rows[i]))
            if event is not None:
                events.append((int(positions[i]), event))
        fresh = ~(dt <= _GAP_S)
        self._restart(rows[fresh], time[fresh])
        dt = np.where(fresh, 0.0, dt)

        x = self._channels(rows, values)
        seen = ~np.isnan(x)
        base, scale = state.base[rows], state.scale[rows]
        unknown = np.isnan(base)
        base = np.where(unknown, x, base)
        floor = self._floors(rows)
        scale = np.where(np.isnan(scale), floor, scale)
        excess = x - base

        interval = state.interval[rows]
        smoothed = np.where(np.isnan(interval), dt, interval + 0.2 * (dt - interval))
        state.interval[rows] = np.where(dt > 0, smoothed, interval)
        state.last_time[rows] = time
        state.count[rows] += 1
        warm = time - state.first_time[rows] >= WARM_UP_S

        risen = seen & (excess > np.maximum(self._rises(rows), 6.0 * scale))
        # Particles have to double as well: a rise of a tenth of a smoky room is no event.
        risen[:, _FINE] &= excess[:, _FINE] > 0.5 * base[:, _FINE]
        idle = state.phase[rows] == _IDLE
        opening = idle & warm & risen.any(axis=1)
        if opening.any():
            self._open(rows[opening], time[opening], dt[opening], base[opening])
        watched = state.phase[rows] != _IDLE

        tau = np.where(excess < 0, 30.0, 300.0)
        tau = np.where(watched[:, None], np.where(excess < 0, 60.0, 3600.0), tau)
        gain = 1.0 - np.exp(-dt[:, None] / tau)
        calm = seen & ~watched[:, None]
        drift = np.where(seen, gain * excess, 0.0)
        state.base[rows] = np.where(seen, base + drift, base)
        residual = np.minimum(np.abs(excess), 4.0 * scale)
        learned = np.maximum(scale + np.minimum(gain * 4, 0.2) * (residual - scale), floor)
        state.scale[rows] = np.where(calm, learned, scale)
        state.last[rows] = np.where(seen, x, state.last[rows])

        for i in np.flatnonzero(watched).tolist():
            event = self._follow(int(rows[i]), float(time[i]), x[i], values[i])
            if event is not None:
                events.append((int(positions[i]), event))

    def _channels(
        self, rows: NDArray[np.int32], values: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Tracked channels of each reading, shape (n, 3); NaN where absent."""
        fine = values[:, _PM25]
        fine = np.where(np.isnan(fine), values[:, _PM1], fine)
        candidates = values[:, _VOC_COLUMNS]
        chosen = self._state.voc_column[rows]
        undecided = (chosen == 0) & ~np.isnan(candidates).all(axis=1)
        if undecided.any():
            first = np.argmax(~np.isnan(candidates), axis=1)
            chosen = np.where(undecided, first + 1, chosen)
            self._state.voc_column[rows] = chosen
        voc = candidates[np.arange(rows.size), np.maximum(chosen - 1, 0)]
        return np.stack([fine, voc, values[:, _RH]], axis=1)

    def _floors(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        voc = _VOC_FLOOR[np.maximum(self._state.voc_column[rows] - 1, 0)]
        return np.stack([np.full(rows.size, _FINE_FLOOR), voc, np.full(rows.size, _RH_FLOOR)], 1)

    def _rises(self, rows: NDArray[np.int32]) -> NDArray[np.float64]:
        voc = _VOC_RISE[np.maximum(self._state.voc_column[rows] - 1, 0)]
        return np.stack([np.full(rows.size, _FINE_RISE), voc, np.full(rows.size, _RH_RISE)], 1)

    def _restart(self, rows: NDArray[np.int32], time: NDArray[np.float64]) -> None:
        """Begin anew after a gap: old baselines say nothing of today's air."""
        state = self._state
        state.first_time[rows] = time
        state.phase[rows] = _IDLE
        state.count[rows] = 0
        for array in (state.base, state.scale, state.last):
            array[rows] = np.nan

    def _open(
        self,
        rows: NDArray[np.int32],
        time: NDArray[np.float64],
        dt: NDArray[np.float64],
        base: NDArray[np.float64],
    ) -> None:
        """Begin an episode: the plume came between the last reading and this one."""
        state = self._state
        state.phase[rows] = _WATCHING
        state.onset[rows] = time - dt
        state.start[rows] = base
        state.peak[rows] = -np.inf
        state.peak_at[rows] = np.nan
        state.over[rows] = 0
        for array in (state.alerted, state.half_time, state.trough, state.quiet_since):
            array[rows] = np.nan
        state.coarse_share[rows] = 0.0

    def _follow(
        self,
        row: int,
        time: float,
        x: NDArray[np.float64],
        values: NDArray[np.float64],
    ) -> Event | None:
        """Follow one episode by one reading; return what is to be said."""
        state = self._state
        excess = x - state.start[row]
        for channel in np.flatnonzero(excess > state.peak[row]).tolist():
            state.peak[row, channel] = excess[channel]
            state.peak_at[row, channel] = time
            if channel == _FINE:
                state.half_time[row] = np.nan
                coarse = values[_PM10] - values[_PM25]
                state.coarse_share[row] = max(0.0, coarse / excess[_FINE]) if coarse > 0 else 0.0
        fine, top = float(excess[_FINE]), float(state.peak[row, _FINE])
        if fine > _FINE_RISE:
            state.over[row] += 1
        if np.isnan(state.half_time[row]) and fine <= 0.5 * top:
            state.half_time[row] = time - state.peak_at[row, _FINE]
        shape = self._shape(row, time, fine)
        chances = probabilities(shape)
        best = int(np.argmax(chances))
        if state.phase[row] == _SAID and (event := self._revise(row, time, chances)) is not None:
            return event
        if state.phase[row] == _WATCHING and shape.decided and chances[best] >= _SURE:
            state.phase[row] = _SAID
            state.kind[row] = best
            state.alerted[row] = time
            state.confidence[row] = chances[best]
            return self._event(row, EventPhase.ALERTED, chances, time, None)
        if self._is_quiet(row, time, excess) or time - state.onset[row] > _LONGEST_S:
            event = self._close(row, time, time)
            state.phase[row] = _IDLE
            if time - state.onset[row] > _LONGEST_S:
                state.base[row] = np.where(np.isnan(x), state.base[row], x)
            return event
        return None

    def _revise(self, row: int, time: float, chances: NDArray[np.float64]) -> Event | None:
        """Withdraw a vape event whose aerosol came back and stayed."""
        state = self._state
        if KINDS[state.kind[row]] is not EventKind.VAPE:
            return None
        if chances[state.kind[row]] >= 0.3 or time - state.alerted[row] < 30.0:
            return None
        event = self._event(row, EventPhase.WITHDRAWN, chances, time, time)
        state.phase[row] = _WATCHING
        return event

    def _is_quiet(self, row: int, time: float, excess: NDArray[np.float64]) -> bool:
        """Whether all channels are back near where they began, for long enough."""
        state = self._state
        voc_rise = _VOC_RISE[max(int(state.voc_column[row]) - 1, 0)]
        near = np.array([_FINE_RISE / 2, voc_rise / 2, _RH_RISE / 2])
        back = ~(excess > np.maximum(near, 0.1 * state.peak[row]))
        if not back.all():
            state.quiet_since[row] = np.nan
            return False
        if np.isnan(state.quiet_since[row]):
            state.quiet_since[row] = time
        return bool(time - state.quiet_since[row] >= _QUIET_S)

    def _close_silent(self, row: int) -> Event | None:
        """End an episode whose sensor fell silent: the same by `step` and by `on_time`."""
        last = float(self._state.last_time[row])
        event = self._close(row, last, last + _SILENT_S)
        self._state.phase[row] = _IDLE
        return event

    def _close(self, row: int, time: float, said: float) -> Event | None:
        """End the event of an episode, if one was said."""
        state = self._state
        if state.phase[row] != _SAID:
            return None
        chances = probabilities(self._shape(row, time, 0.0))
        quiet = float(state.quiet_since[row])
        end = time if np.isnan(quiet) else quiet
        return self._event(row, EventPhase.ENDED, chances, said, end)

    def _shape(self, row: int, time: float, fine: float) -> Shape:
        state = self._state
        voc = int(state.voc_column[row]) - 1
        return Shape(
            age_s=time - float(state.onset[row]),
            since_peak_s=time - float(state.peak_at[row, _FINE]),
            rise_s=float(state.peak_at[row, _FINE] - state.onset[row]),
            half_s=float(state.half_time[row]),
            left=fine / max(float(state.peak[row, _FINE]), 1e-9),
            fine=float(state.peak[row, _FINE]),
            base=float(state.start[row, _FINE]),
            noise=float(state.scale[row, _FINE]),
            coarse_share=float(state.coarse_share[row]),
            voc=float(state.peak[row, _VOC]) / float(_VOC_RISE[voc]) if voc >= 0 else float("nan"),
            humidity=float(state.peak[row, _HUMID]),
            interval_s=float(state.interval[row]),
            samples=int(state.over[row]),
        )

    def _event(
        self,
        row: int,
        phase: EventPhase,
        chances: NDArray[np.float64],
        time: float,
        end: float | None,
    ) -> Event:
        state = self._state
        voc = int(state.voc_column[row]) - 1
        keys = ("pm25", COLUMNS[_VOC_COLUMNS[voc]] if voc >= 0 else "", "rh")
        onset = float(state.onset[row])
        evidence: dict[str, ChannelEvidence] = {}
        for channel, key in enumerate(keys):
            peak = float(state.peak[row, channel])
            if not key or not np.isfinite(peak):
                continue
            half = float(state.half_time[row]) if channel == _FINE else float("nan")
            evidence[key] = ChannelEvidence(
                baseline=round(float(state.start[row, channel]), 3),
                peak_excess=round(peak, 3),
                rise_s=round(float(state.peak_at[row, channel]) - onset, 3),
                decay_s=None if np.isnan(half) else round(half, 3),
            )
        kind = KINDS[state.kind[row]]
        peak_at = state.peak_at[row]
        led = _FINE if not np.isnan(peak_at[_FINE]) else int(np.nanargmax(peak_at))
        return Event(
            sensor=state.names[row],
            kind=kind,
            phase=phase,
            onset=onset,
            alerted=float(state.alerted[row]),
            peak_time=float(peak_at[led]),
            end=end,
            confidence=round(float(state.confidence[row]), 4),
            probabilities={
                k.value: round(float(p), 4) for k, p in zip(KINDS, chances, strict=True)
            },
            evidence=evidence,
            model_version=self.model_version,
            time=time,
        )


def _rounds(sensor: NDArray[np.int32]) -> list[NDArray[np.intp]]:
    """Split positions so that no sensor occurs twice in a part, keeping each sensor's order.

    Examples
    --------
    >>> [part.tolist() for part in _rounds(np.array([3, 5, 3, 3], np.int32))]
    [[0, 1], [2], [3]]
    """
    n = sensor.shape[0]
    if n <= 1:
        return [np.arange(n)] if n else []
    order = np.argsort(sensor, kind="stable")
    ordered = sensor[order]
    first = np.r_[True, ordered[1:] != ordered[:-1]]
    starts = np.flatnonzero(first)
    occurrence = np.empty(n, np.int64)
    occurrence[order] = np.arange(n) - np.repeat(starts, np.diff(np.r_[starts, n]))
    return [np.flatnonzero(occurrence == k) for k in range(int(occurrence.max()) + 1)]
