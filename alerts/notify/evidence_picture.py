"""Draw the evidence picture: the air readings around an event, small enough for a phone.

The picture has panels for fine particles (or the closest quantity that the sensor measures), VOC
and humidity. They share one time axis in the school's time zone. The lines for onset, alert and end
have different patterns, so they can be told apart without color. The curve has gaps where readings
are missing. The last line explains the curve and the baseline, and names the time zone.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Final, NamedTuple
from zoneinfo import ZoneInfo

import numpy as np

from alerts.notify.notice import KIND_WORDS, write_clock
from detection.events import format_span
from detection.quantities import QUANTITIES, QUANTITY_WORDS
from language.messages import Words, _, capitalize, mark, write_date
from reports import look
from reports.drawing import Box, Drawing, Item, Line, Text, cut

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import ArrayLike, NDArray

PANELS: Final = (
    ("pm25", "pm10", "pm1", "pm4", "n03", "n05", "n10", "n25"),
    ("tvoc_ppb", "tvoc_ugm3", "voc_index", "voc_raw"),
    ("rh",),
)
"""Quantities for each panel, in order of preference; those that the detector used come first."""

_MIN_SPAN: Final = {
    "tvoc_ppb": 200.0,
    "tvoc_ugm3": 500.0,
    "voc_index": 60.0,
    "voc_raw": 400.0,
    "rh": 10.0,
}
"""Minimum value range of a panel, in the quantity's unit; particle panels use 20."""

_AROUND_S: Final = 1800.0
"""Longest time shown before the onset, and after the end, in seconds."""
_LONGEST_S: Final = 4 * 3600.0
"""Longest part of an event that is shown, in seconds."""
_WIDTH: Final = 360.0
_LEFT: Final = 46.0
_RIGHT: Final = 348.0
_TOP: Final = 66.0
_PLOT: Final = 62.0
_PITCH: Final = 94.0
_HEADER: Final = 21.0
_FOOT: Final = 30.0
_MAX_POINTS: Final = 500

_INK: Final = look.color_on_white("ink")
_FINE: Final = look.color_on_white("fine")
_GRID: Final = look.color_on_white("grid")
_BAND: Final = look.color_on_white("ground")
_DATA: Final = look.color_on_white("link")
_ALERT: Final = look.color_on_white("alarm")

_MARK_LINES: Final[dict[str, tuple[str, float, tuple[tuple[float, float], ...]]]] = {
    "onset": (_INK, 1.2, ((4, 3),)),
    "alert": (_ALERT, 1.8, ()),
    "end": (_INK, 1.2, ((1.2, 3),)),
}
"""Color, width and dash pattern of the vertical lines."""
_STEPS_S: Final = (
    *(1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800),
    *(3600, 7200, 14_400, 43_200, 86_400),
)


@dataclass(frozen=True, slots=True)
class EvidenceFacts:
    """The event data for a picture; times are event times in Unix seconds.

    `kind` is a key of `KIND_WORDS`, and `place` names the floor and building. `end` is None while
    the event continues, and `until` is the time of the last update. `sentence` describes the
    evidence for screen readers. `baselines` maps quantities to baselines in their units.
    """

    kind: str
    room: str
    place: str
    sensor: str
    onset: float
    alerted: float
    end: float | None
    until: float
    sentence: str
    zone: str = "UTC"
    baselines: Mapping[str, float] = field(default_factory=dict)
    site: str = ""
    """The site, if there are several; shown on the second line, since a long first line is cut."""


class _Panel(NamedTuple):
    key: str
    time: NDArray[np.float64]
    values: NDArray[np.float64]


class _Axis(NamedTuple):
    low: float
    high: float
    start: float
    stop: float

    def __call__(self, value: float) -> float:
        share = (value - self.low) / (self.high - self.low)
        return self.start + min(max(share, 0.0), 1.0) * (self.stop - self.start)


_MARK_WORDS: Final = Words({"onset": mark("onset"), "alert": mark("alert"), "end": mark("end")})


def write_label(key: str) -> str:
    """Return the title of a quantity's chart."""
    return capitalize(_("Humidity") if key == "rh" else QUANTITY_WORDS[key])


def find_span(facts: EvidenceFacts) -> tuple[float, float]:
    """Return the time span of readings that `draw` can use, in Unix seconds."""
    return facts.onset - _AROUND_S, _find_until(facts) + _AROUND_S


def draw(facts: EvidenceFacts, time: ArrayLike, values: Mapping[str, ArrayLike]) -> Drawing:
    """Draw the picture, 360 units wide and 190 to 378 high; the result is deterministic.

    `time` contains ascending event times in Unix seconds and can be empty. `values` maps each
    quantity to its readings in the quantity's unit, NaN where missing. A quantity without readings
    gets no panel.
    """
    at = np.asarray(time, dtype=np.float64)
    start, stop = _find_axis(facts, at)
    inside = (at >= start) & (at <= stop)
    panels = _choose_panels(facts, at[inside], values, inside)
    x = _Axis(start, stop, _LEFT, _RIGHT)
    bottom = _TOP + _PITCH * max(len(panels), 1)
    items: list[Item] = [*_draw_head(facts)]
    for k, panel in enumerate(panels):
        items += _draw_panel(facts, panel, x, _TOP + k * _PITCH)
    if not panels:
        text = _("No readings are stored for this time.")
        middle = (_LEFT + _RIGHT) / 2
        items.append(Text(middle, _TOP + _PITCH / 2, text, 12, _FINE, "middle"))
    items += _draw_time_axis(facts, x, bottom)
    since = write_clock(facts.onset, facts.zone)
    what = KIND_WORDS.get(facts.kind, facts.kind)
    state = _("%(what)s since %(time)s", what=what, time=since)
    title = _("%(place)s: %(state)s", place=facts.room, state=state)
    return Drawing(_WIDTH, bottom + _FOOT, title, facts.sentence, tuple(items))


def _find_until(facts: EvidenceFacts) -> float:
    known = max(facts.until, facts.alerted, facts.onset, facts.end or facts.onset)
    return min(known, facts.onset + _LONGEST_S)


def _find_axis(facts: EvidenceFacts, time: NDArray[np.float64]) -> tuple[float, float]:
    """Return the start and end of the time axis: the event, with some time before and after."""
    until = _find_until(facts)
    interval = float(np.median(np.diff(time))) if time.size > 1 else 5.0
    lasted = until - facts.onset
    lead = min(max(30.0, 12 * interval, 0.4 * lasted), _AROUND_S)
    tail = min(max(30.0, 6 * interval, 0.4 * lasted), _AROUND_S)
    start = facts.onset - lead
    last = float(time[-1]) if time.size else until
    stop = max(min(until + tail, last), until)
    return start, stop + 0.03 * (stop - start)


def _choose_panels(
    facts: EvidenceFacts,
    time: NDArray[np.float64],
    values: Mapping[str, ArrayLike],
    inside: NDArray[np.bool_],
) -> list[_Panel]:
    panels = []
    for group in PANELS:
        # prefer quantities that the detector used
        for key in sorted(group, key=lambda k: k not in facts.baselines):
            if key not in values:
                continue
            column = np.asarray(values[key], dtype=np.float64)[inside]
            known = np.isfinite(column)
            if known.any():
                panels.append(_Panel(key, time[known], column[known]))
                break
    return panels


def _draw_head(facts: EvidenceFacts) -> list[Item]:
    day = write_date(datetime.fromtimestamp(facts.onset, ZoneInfo(facts.zone)), "short date")
    where = ", ".join(part for part in (facts.room, facts.place) if part)
    sensor = _("sensor %(sensor)s", sensor=facts.sensor)
    about = " · ".join(
        filter(None, (facts.site, KIND_WORDS.get(facts.kind, facts.kind), day, sensor))
    )
    items: list[Item] = [
        Text(12, 21, cut(where, _WIDTH - 24, 15.5), 15, _INK, bold=True),
        Text(12, 38, cut(about, _WIDTH - 24, 11), 11, _FINE),
    ]
    left = 12.0
    for name, when in (
        ("onset", _write_clock(facts.onset, facts.zone, "clock")),
        ("alert", f"+{format_span(facts.alerted - facts.onset)}"),
        ("end", "" if facts.end is None else _write_clock(facts.end, facts.zone, "clock")),
    ):
        words = f"{_MARK_WORDS[name]} {when}" if when else _("ongoing")
        if when:
            items.append(_draw_mark(name, left + 3, 46.0, 60.0))
            left += 10
        items.append(Text(left, 58, words, 11, _INK, bold=name == "alert"))
        left += 6.4 * len(words) + 8
    return items


def _write_clock(moment: float, zone: str, form: str) -> str:
    return write_date(datetime.fromtimestamp(moment, ZoneInfo(zone)), form)


def _draw_mark(name: str, x: float, top: float, bottom: float) -> Line:
    color, width, dashes = _MARK_LINES[name]
    return Line(((x, top), (x, bottom)), color, width, *dashes)


def _draw_panel(facts: EvidenceFacts, panel: _Panel, x: _Axis, top: float) -> list[Item]:
    base = facts.baselines.get(panel.key)
    if base is not None and not math.isfinite(base):
        base = None
    upper, lower = top + _HEADER, top + _HEADER + _PLOT
    ticks = _choose_ticks(panel, base)
    y = _Axis(ticks[0], ticks[-1], lower, upper)
    label, unit = write_label(panel.key), QUANTITIES[panel.key].unit
    header = f"{label}, {unit}" if unit else label
    items: list[Item] = [
        Text(12, top + 12, header, 12, _INK, bold=True),
        Text(_RIGHT, top + 12, _write_levels(facts, panel, base), 11, _INK, "end"),
    ]
    begun = x(facts.onset)
    over = x(x.high if facts.end is None else facts.end)
    items.append(Box(begun, upper, over - begun, lower - upper, _BAND))
    for tick in ticks:
        items.append(Line(((_LEFT, y(tick)), (_RIGHT, y(tick))), _GRID, 0.8))
        items.append(Text(_LEFT - 5, y(tick) + 4, _shorten(tick), 11, _FINE, "end"))
    if base is not None:
        items.append(Line(((_LEFT, y(base)), (_RIGHT, y(base))), _FINE, 1.0, (7, 3)))
    for name, moment in (("onset", facts.onset), ("alert", facts.alerted), ("end", facts.end)):
        if moment is not None and (name != "end" or moment <= x.high):
            items.append(_draw_mark(name, x(moment), upper, lower))
    for piece in _cut_at_gaps(panel):
        points = tuple((x(t), y(v)) for t, v in piece)
        if len(points) > 1:
            items.append(Line(points, _DATA, 1.8))
        if len(points) == 1 or panel.time.size <= 40:
            items += [Box(px - 1.7, py - 1.7, 3.4, 3.4, _DATA) for px, py in points]
    return items


def _write_levels(facts: EvidenceFacts, panel: _Panel, base: float | None) -> str:
    """Describe the baseline, and the value farthest from it since the onset."""
    since = panel.values[panel.time >= facts.onset]
    if since.size == 0:
        return "" if base is None else _("baseline %(n)s", n=_write_value(panel.key, base))
    if base is None:
        return _("highest %(n)s", n=_write_value(panel.key, float(since.max())))
    far = float(since[np.argmax(np.abs(since - base))])
    levels = {"n": _write_value(panel.key, base), "far": _write_value(panel.key, far)}
    if levels["n"] == levels["far"]:
        return _("steady at %(n)s", n=levels["n"])
    if far < base:
        return _("baseline %(n)s, lowest %(far)s", **levels)
    return _("baseline %(n)s, highest %(far)s", **levels)


def _write_value(key: str, value: float) -> str:
    """Format a value with as many digits as its sensor justifies."""
    is_fine = QUANTITIES[key].resolution < 1 and abs(value) < 10
    return _shorten(round(value, 1 if is_fine else 0))


def _shorten(value: float) -> str:
    """Format a value with three significant digits.

    >>> [_shorten(value) for value in (0, 41.34, 184.2, 1250, 25_000, 3e6)]
    ['0', '41.3', '184', '1250', '25k', '3M']
    """
    for least, unit, sign in ((1e6, 1e6, "M"), (1e4, 1e3, "k")):
        if abs(value) >= least:
            return f"{value / unit:.3g}{sign}"
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _choose_ticks(panel: _Panel, base: float | None) -> list[float]:
    """Return three to five round values that enclose all readings and the baseline."""
    low, high = float(panel.values.min()), float(panel.values.max())
    if base is not None:
        low, high = min(low, base), max(high, base)
    if panel.key in PANELS[0]:
        low, high = min(low, 0.0), max(high, 20.0)
    else:
        q = QUANTITIES[panel.key]
        low, high = np.clip((low, high), q.low, q.high)
        spare = max(_MIN_SPAN[panel.key] - (high - low), 0.0)
        low, high = max(low - spare / 2, q.low), min(high + spare / 2, q.high)
    rough = (high - low) / 3
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(m * power for m in (1, 2, 2.5, 5, 10) if m * power >= rough * 0.999)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [k * step for k in range(first, last + 1)]


def _cut_at_gaps(panel: _Panel) -> list[list[tuple[float, float]]]:
    """Split the line at gaps in the readings, and thin it to the picture's resolution."""
    time, values = panel.time, panel.values
    steps = np.diff(time)
    longest = 3.0 * float(np.median(steps)) + 1.0 if steps.size else math.inf
    cuts = [0, *(np.flatnonzero(steps > longest) + 1).tolist(), time.size]
    share = max(math.ceil(2 * time.size / _MAX_POINTS), 1)
    pieces = []
    for a, b in itertools.pairwise(cuts):
        chosen = _find_extremes(values[a:b], share) + a
        pieces.append(list(zip(time[chosen].tolist(), values[chosen].tolist(), strict=True)))
    return pieces


def _find_extremes(values: NDArray[np.float64], share: int) -> NDArray[np.intp]:
    """Return the indices of the lowest and highest of every `share` values; this keeps peaks."""
    if share <= 2:
        return np.arange(values.size)
    chosen = {0, values.size - 1}
    for a in range(0, values.size, share):
        part = values[a : a + share]
        chosen |= {a + int(part.argmin()), a + int(part.argmax())}
    return np.array(sorted(chosen))


def _draw_time_axis(facts: EvidenceFacts, x: _Axis, bottom: float) -> list[Item]:
    y = bottom - _PITCH + _HEADER + _PLOT
    span = x.high - x.low
    step = next((s for s in _STEPS_S if span / s <= 4.2), _STEPS_S[-1])
    zone = ZoneInfo(facts.zone)
    offset = datetime.fromtimestamp(x.low, zone).utcoffset()
    shift = offset.total_seconds() if offset is not None else 0.0
    first = math.ceil((x.low + shift) / step) * step - shift
    items: list[Item] = [Line(((_LEFT, y), (_RIGHT, y)), _FINE, 1.0)]
    count = math.floor((x.high - first) / step) + 1
    for k in range(min(count, 12)):
        moment = first + k * step
        text = _write_clock(moment, facts.zone, "clock with seconds" if step < 60 else "clock")
        px = x(moment)
        items.append(Line(((px, y), (px, y + 4)), _FINE, 1.0))
        # Skip a label that would touch the vertical axis's lowest label, half a line higher.
        if _LEFT + 3.1 * len(text) < px + 2 and px < _RIGHT - 18:
            items.append(Text(px, y + 16, text, 11, _FINE, "middle"))
    foot = bottom + _FOOT - 9
    name = datetime.fromtimestamp(facts.onset, zone).tzname() or ""
    zone_words = _("time: %(zone)s", zone=name if name.isalpha() else zone.key.split("/")[-1])
    return [
        *items,
        Line(((12, foot - 4), (36, foot - 4)), _DATA, 1.8),
        Text(42, foot, _("readings"), 11, _FINE),
        Line(((104, foot - 4), (131, foot - 4)), _FINE, 1.0, (7, 3)),
        Text(137, foot, _("baseline"), 11, _FINE),
        Text(_RIGHT, foot, zone_words, 11, _FINE, "end"),
    ]
