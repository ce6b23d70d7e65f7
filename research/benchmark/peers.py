"""Published detection rules, each a small causal function of one sensor's readings.

A rule takes a `Series` and returns the times of its alerts, or None if the sensor lacks a channel
that the rule needs; the table shows on how many sensors each rule could run. Readings are not
interpolated, and quantities are not converted: a rule for a VOC index is not run on ppb.

Numbers that a source leaves open have the values with the best F1 on training seeds of the world
`school`, so that our choice does not disadvantage any rule.

- ``halo``: HALO 3C's sample configuration. An alert starts at PM10 >= 35 and resets below 35.
- ``verkada``: the SV11 guide's index of 0-100 from rises of TVOC, PM2.5 and motion. The formula is
  not public. Our version is the geometric mean of two saturating rises over the lowest level of the
  last ten minutes: PM2.5 relative to 50 µg/m³, and VOC relative to `VOC_FULL_SCALE`. It assumes
  motion, and alerts above one of the guide's zone limits (10, 50, 80).
- ``ipvideo``: US patents 10970985, 11183041 and 11302164. Alerts if PM2.5 exceeds a threshold for a
  period while gas is below its own threshold. The patents give no numbers.
- ``vaciam``: VaCiam on a SEN55. The baseline is the median of the last 8 readings. A VOC index rise
  of 150 with a PM2.5 rise below 100 is vaping. After a PM2.5 rise of 150, it waits up to 40 s for a
  VOC index rise of 150, or for three successive rises of 10 a second: either is vaping. If neither
  comes, a VOC index rise below 30 is a cigarette, and any other is vaping. A cool-down of 10 s
  follows.
- ``vaciam20``: the same at the rate of its firmware, which checks only every 20 s while idle.
- ``fukidzon``: alerts if PM2.5 is more than 5 above its level 59 s before. The alarm ends after
  60 s if the peak rise is below 10, after a total of 30 s with a rise below 6, or after 900 s.
- ``hobby``: PM2.5 > 100, with a lockout of 100 s.

These rules cannot be run:

- ``gs601``: the manufacturer's vaping index > 5, because no world simulates that index.
- ``cpc357``: it needs an MQ-2 gas sensor, which none of these devices has.
- ``halo2019``: the composite "VAPE1" > 100, because its formula is not public.
"""

from __future__ import annotations

from collections import deque
from statistics import median
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from numpy.typing import NDArray

    from research.benchmark.recordings import Series

    Rule = Callable[[Series], NDArray[np.float64] | None]

VOC_CHANNELS: Final = ("tvoc_ppb", "tvoc_ugm3", "voc_index")
VOC_FULL_SCALE: Final = {"tvoc_ppb": 500.0, "tvoc_ugm3": 1000.0, "voc_index": 150.0}
"""VOC rise at which the Verkada-like index reaches its maximum, in the quantity's unit."""
GAS_LIMIT: Final = {"tvoc_ppb": 500.0, "tvoc_ugm3": 1000.0, "voc_index": 200.0}
"""Gas threshold of the patent rule, before multiplication by a factor that the patent omits."""
SILENCE_S: Final = 120.0
"""Rules that look back start over after a gap longer than this, s."""


def _edges(time: NDArray[np.float64], on: NDArray[np.bool_]) -> NDArray[np.float64]:
    before = np.concatenate([[False], on[:-1]])
    return np.asarray(time[on & ~before])


def _hold(values: NDArray[np.float64]) -> NDArray[np.float64]:
    known = np.where(np.isnan(values), 0, np.arange(values.size))
    return np.asarray(values[np.maximum.accumulate(known)])


def _voc(series: Series) -> tuple[str, NDArray[np.float64]] | None:
    for key in VOC_CHANNELS:
        values = series.get_column(key)
        if values is not None:
            return key, _hold(values)
    return None


def _lowest(
    time: NDArray[np.float64], values: NDArray[np.float64], window_s: float
) -> NDArray[np.float64]:
    out = np.empty_like(values)
    queue: deque[int] = deque()
    for i, (now, value) in enumerate(zip(time.tolist(), values.tolist(), strict=True)):
        while queue and not values[queue[-1]] < value:
            queue.pop()
        queue.append(i)
        while time[queue[0]] < now - window_s:
            queue.popleft()
        out[i] = values[queue[0]]
    return out


def halo(series: Series, limit: float = 35.0) -> NDArray[np.float64] | None:
    """Apply HALO's sample configuration: PM10 at or above the limit."""
    pm10 = series.get_column("pm10")
    if pm10 is None:
        return None
    return _edges(series.time, _hold(pm10) >= limit)


def verkada(series: Series, zone: float = 50.0) -> NDArray[np.float64] | None:
    """Apply an index of TVOC and PM2.5 rises: our version of a formula that is not public."""
    pm, gas = series.get_column("pm25"), _voc(series)
    if pm is None or gas is None:
        return None
    key, voc = gas
    pm = _hold(pm)
    rise = np.clip((pm - _lowest(series.time, pm, 600.0)) / 50.0, 0, 1)
    gain = np.clip((voc - _lowest(series.time, voc, 600.0)) / VOC_FULL_SCALE[key], 0, 1)
    return _edges(series.time, 100.0 * np.sqrt(rise * gain) > zone)


def ipvideo(
    series: Series, limit: float = 20.0, period_s: float = 15.0, gas_factor: float = 2.0
) -> NDArray[np.float64] | None:
    """Apply the patent rule: particles above a threshold for a period, and gas below its own."""
    pm, gas = series.get_column("pm25"), _voc(series)
    if pm is None or gas is None:
        return None
    key, voc = gas
    over = _hold(pm) > limit
    time = series.time
    start = np.where(over & ~np.concatenate([[False], over[:-1]]), time, -np.inf)
    held = over & (time - np.maximum.accumulate(start) >= period_s)
    return _edges(time, held & (voc <= GAS_LIMIT[key] * gas_factor))


def vaciam(  # noqa: C901 - one state machine, as published
    series: Series, idle_every_s: float = 0.0
) -> NDArray[np.float64] | None:
    """Apply VaCiam's classification of SEN55 readings; while idle, check every `idle_every_s`."""
    pm, voc = series.get_column("pm25"), series.get_column("voc_index")
    if pm is None or voc is None:
        return None
    pms: deque[float] = deque(maxlen=8)
    vocs: deque[float] = deque(maxlen=8)
    alerts: list[float] = []
    rest_until = looked = waiting = -np.inf
    streak, last_voc, last_time = 0, 0.0, -np.inf
    rows = zip(series.time.tolist(), _hold(pm).tolist(), _hold(voc).tolist(), strict=True)
    for now, p, v in rows:
        if np.isnan(p) or np.isnan(v):
            continue
        in_wait = waiting > -np.inf
        if not in_wait and now - looked < idle_every_s:
            continue
        looked = now
        pms.append(p)
        vocs.append(v)
        d_voc = v - median(vocs)
        if in_wait:
            rate = (v - last_voc) / max(now - last_time, 1e-3)
            streak = streak + 1 if rate >= 10 else 0
            risen = d_voc >= 150 or streak >= 3
            if risen or now - waiting >= 40:
                if risen or d_voc >= 30:
                    alerts.append(now)
                waiting, rest_until = -np.inf, now + 10
        elif now >= rest_until and len(pms) == 8:
            d_pm = p - median(pms)
            if d_voc >= 150 and d_pm < 100:
                alerts.append(now)
                rest_until = now + 10
            elif d_pm >= 150:
                waiting, streak = now, 0
        last_voc, last_time = v, now
    return np.array(alerts)


def fukidzon(series: Series) -> NDArray[np.float64] | None:
    """Alert when PM2.5 has risen above its level 59 s earlier."""
    pm = series.get_column("pm25")
    if pm is None:
        return None
    time, values = series.time, np.rint(_hold(pm))
    back = np.searchsorted(time, time - 59.0, side="right") - 1
    alerts: list[float] = []
    start = fresh_from = float(time[0]) if time.size else 0.0
    active, checked = False, False
    good = peak = base = 0.0
    previous = start
    for i, now in enumerate(time.tolist()):
        value = float(values[i])
        dt, previous = now - previous, now
        if dt > SILENCE_S:
            active, fresh_from = False, now
        if not active:
            j = int(back[i])
            # the earlier level must be from after the last alarm or gap
            if j < 0 or now - fresh_from < 60 or time[j] < now - 59 - SILENCE_S:
                continue
            if value - values[j] > 5:
                active, checked, start, good, peak = True, False, now, 0.0, 0.0
                low = int(np.searchsorted(time, time[j] + 9.5, side="right"))
                base = float(np.rint(values[j : max(low, j + 1)].mean()))
                alerts.append(now)
            continue
        peak = max(peak, value - base)
        good += dt if value - base < 6 else 0.0
        false_start = not checked and now - start >= 60 and peak < 10
        checked = checked or now - start >= 60
        if false_start or good > 30 or now - start > 900:
            active, fresh_from = False, now
    return np.array(alerts)


def hobby(
    series: Series, limit: float = 100.0, lock_out_s: float = 100.0
) -> NDArray[np.float64] | None:
    """Alert on PM2.5 above a limit, then pause."""
    pm = series.get_column("pm25")
    if pm is None:
        return None
    alerts: list[float] = []
    free = -np.inf
    for now in series.time[_hold(pm) > limit].tolist():
        if now >= free:
            alerts.append(now)
            free = now + lock_out_s
    return np.array(alerts)


def _vaciam20(series: Series) -> NDArray[np.float64] | None:
    return vaciam(series, 20.0)


RULES: Final[Mapping[str, tuple[str, Callable[..., NDArray[np.float64] | None]]]] = {
    "halo": ("HALO sample, PM10 >= 35", halo),
    "verkada": ("Verkada-like index", verkada),
    "ipvideo": ("IPVideo patents", ipvideo),
    "vaciam": ("VaCiam, every reading", vaciam),
    "vaciam20": ("VaCiam, every 20 s", _vaciam20),
    "fukidzon": ("fukidzon", fukidzon),
    "hobby": ("PM2.5 > 100", hobby),
}
"""Each rule's name in tables, and its function."""

NOT_APPLICABLE: Final[Mapping[str, str]] = {
    "GS601 vaping index > 5": "no world simulates the vendor's index",
    "CPC357": "needs an MQ-2 gas sensor, which none of these devices has",
    "HALO 2019 composite": "its formula is not public",
}
"""Rules that cannot be run, with the reason."""
