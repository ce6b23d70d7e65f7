"""Test the contrast of text and charts in the style sheet by WCAG 2.1 AA, in light and dark mode.

Text needs 4.5 to 1 (1.4.3), and meaningful lines and shapes 3 to 1 (1.4.11).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from alerts.notify import evidence_picture
from reports import documents, look
from tests.support.contrast import contrast, rgb

STATIC = Path(evidence_picture.__file__).parents[1] / "page/static"
TEXT, SHAPE = 4.5, 3.0


def theme(side):
    found = {name: tone[side] for name, tone in look.COLORS.items()}
    for name, state in look.STATES.items():
        found |= {name: state.color[side], f"{name}-soft": state.soft[side]}
    return {name: rgb(color) for name, color in found.items()}


LIGHT, DARK = theme(0), theme(1)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
class TestPage:
    def test_text_on_the_brand(self, theme):
        assert contrast(theme["on-brand"], theme["brand"]) >= TEXT

    def test_lines_of_charts(self, theme):
        for k in range(1, 5):
            assert contrast(theme[f"line-{k}"], theme["card"]) >= SHAPE, k

    def test_text_of_charts_and_tables(self, theme):
        for ground in ("card", "ground"):
            for ink in ("ink", "fine", "link"):
                assert contrast(theme[ink], theme[ground]) >= TEXT, (ink, ground)

    def test_states(self, theme):
        for state in look.STATES:
            assert contrast(theme[state], theme["card"]) >= TEXT, state
            assert contrast(theme[state], theme[f"{state}-soft"]) >= TEXT, state


def test_what_carries_meaning_in_the_evidence_picture():
    for name in ("ink", "fine", "link", "alarm"):
        assert contrast(LIGHT[name], rgb("#ffffff")) >= TEXT, name


def test_shades_of_bars_and_cells_of_heat_maps():
    dark, middle, _ = map(rgb, look.SHADES)
    assert min(contrast(shade, rgb("#ffffff")) for shade in (dark, middle)) >= SHAPE
    for darkest in (look.SHADES[1], look.color_on_white("ground")):
        assert contrast(LIGHT["ink"], rgb(darkest)) >= TEXT, darkest


FILES = (
    *sorted(STATIC.glob("*.css")),
    Path(evidence_picture.__file__),
    *sorted((Path(documents.__file__).parent / "templates").iterdir()),
)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_no_color_is_defined_anywhere_else(path):
    text = path.read_text(encoding="utf-8")
    found = {c.lower() for c in re.findall(r"#[0-9a-fA-F]{3,8}\b(?! *\{)", text)}
    plain = {c for c in found if len(set(c[1:4])) == 1}  # white, black and grays for print
    assert found - plain == set()


def test_every_state_has_a_color_an_icon_and_a_word_of_its_own():
    states = look.STATES.values()
    for what in ("word", "color", "icon"):
        assert len({getattr(state, what) for state in states}) == len(look.STATES), what
