"""Contrast of text and charts against WCAG 2.1 AA, in light and dark, from the style sheet itself.

Text needs 4.5 to 1 (1.4.3), lines and shapes that carry meaning 3 to 1 (1.4.11).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alerts.notify import evidence_picture

STATIC = Path(evidence_picture.__file__).parents[1] / "page/static"
CSS = (STATIC / "page.css").read_text(encoding="utf-8")
TEXT, SHAPE = 4.5, 3.0
STRIP_ALPHA = 0.4
"""How opaque the strip of an event in a chart is (page.js)."""


def colors(block):
    found = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{3,6})\b", block))
    return {name: rgb(value) for name, value in found.items()}


def rgb(text):
    digits = text.lstrip("#")
    if len(digits) == 3:
        digits = "".join(2 * d for d in digits)
    return tuple(int(digits[k : k + 2], 16) for k in (0, 2, 4))


def luminance(color):
    parts = [c / 255 for c in color]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(one, other):
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def over(color, ground, alpha):
    return tuple(alpha * c + (1 - alpha) * g for c, g in zip(color, ground, strict=True))


LIGHT = colors(CSS[: CSS.index("@media")])
DARK = {**LIGHT, **colors(CSS[CSS.index("prefers-color-scheme: dark") : CSS.index("* {")])}


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
class TestPage:
    def test_lines_of_charts(self, theme):
        for k in range(1, 5):
            assert contrast(theme[f"line-{k}"], theme["card"]) >= SHAPE, k

    def test_text_of_charts_and_tables(self, theme):
        for ground in ("card", "ground"):
            for ink in ("ink", "fine", "link"):
                assert contrast(theme[ink], theme[ground]) >= TEXT, (ink, ground)

    def test_numbers_on_the_strips_of_events(self, theme):
        assert f": {STRIP_ALPHA};" in (STATIC / "page.js").read_text(encoding="utf-8")
        for tone in ("alarm", "attention", "notable"):
            strip = over(theme[tone], theme["card"], STRIP_ALPHA)
            assert contrast(theme["ink"], strip) >= TEXT, tone

    def test_states(self, theme):
        for state in ("alarm", "attention", "responding", "notable", "ok", "silent"):
            assert contrast(theme[state], theme["card"]) >= TEXT, state
            assert contrast(theme[state], theme[f"{state}-soft"]) >= TEXT, state


def test_the_evidence_picture():
    text = Path(evidence_picture.__file__).read_text(encoding="utf-8")
    found = {rgb(c) for c in re.findall(r"#[0-9a-fA-F]{6}\b", text)}
    assert found
    for color in found:
        ratio = contrast(color, (255, 255, 255))
        assert ratio >= SHAPE or ratio < 1.35, color  # the rest is ground and grid
