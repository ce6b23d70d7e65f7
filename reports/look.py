"""How page, push picture and report look: the colors, sizes and states of `look.toml`.

Every state has a color, an icon and a word, so that none needs color alone. Text has a contrast of
at least 4.5 to 1 on its ground, and lines and shapes 3 to 1 (WCAG 2.1 AA): a test measures all.
"""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any, Final, NamedTuple

from reports.text import STATE_WORDS


class Tone(NamedTuple):
    """A color on light and on dark ground."""

    light: str
    dark: str


class State(NamedTuple):
    """How a state is shown: word, color, soft ground of that color, and icon as SVG, 24 wide."""

    word: str
    color: Tone
    soft: Tone
    icon: str


_TABLES: Final[dict[str, Any]] = tomllib.loads(
    Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
)
COLORS: Final = {name: Tone(*pair) for name, pair in _TABLES["colors"].items()}
STATES: Final = {
    name: State(STATE_WORDS[name], Tone(*given["color"]), Tone(*given["soft"]), given["icon"])
    for name, given in _TABLES["states"].items()
}
"""All states of rooms and incidents, by the class that shows them."""
SHADES: Final = ("#0f5c6e", "#6c9ba8", "#d9e7ea")
"""Dark to light, for parts of a bar: they differ in lightness, so a gray print loses nothing."""


def light(name: str) -> str:
    """Return a color of `COLORS` or of a state on white, for drawings and print."""
    return STATES[name].color.light if name in STATES else COLORS[name].light


def ink_on(color: str) -> str:
    """Return the ink that reads better on a color, black or white: one of them has 4.5 to 1.

    >>> ink_on("#d9e7ea"), ink_on("#0f5c6e")
    ('#000000', '#ffffff')
    """
    return max(("#000000", "#ffffff"), key=lambda ink: contrast(ink, color))


def contrast(one: str, other: str) -> float:
    """Return the contrast of two colors, 1 to 21, as WCAG 2.1 defines it.

    >>> round(contrast("#000000", "#ffffff"), 1)
    21.0
    """
    low, high = sorted((_luminance(one), _luminance(other)))
    return (high + 0.05) / (low + 0.05)


def _luminance(color: str) -> float:
    parts = [int(color[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def css(*, dark: bool = True) -> str:
    """Return all of it as custom properties; a print has no dark ground."""

    def block(side: int) -> str:
        tones = {name: tone[side] for name, tone in COLORS.items()}
        for name, state in STATES.items():
            tones |= {name: state.color[side], f"{name}-soft": state.soft[side]}
        return " ".join(f"--{name}: {color};" for name, color in tones.items())

    sizes = " ".join(f"--size-{name}: {size};" for name, size in _TABLES["sizes"].items())
    spaces = " ".join(f"--space-{name}: {space};" for name, space in _TABLES["spaces"].items())
    text = f":root {{ {block(0)} {sizes} {spaces} }}\n"
    if dark:
        text += f"@media (prefers-color-scheme: dark) {{ :root {{ {block(1)} }} }}\n"
    for name in STATES:
        text += f".{name} {{ --tone: var(--{name}); --soft: var(--{name}-soft); }}\n"
    return text
