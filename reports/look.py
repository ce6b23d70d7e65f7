"""Colors, sizes and states shared by the page, push pictures and reports.

Every state has a color, an icon and a word, so no state depends on color alone. Text has a contrast
of at least 4.5 to 1 with its background; lines and shapes have at least 3 to 1 (WCAG 2.1 AA). A
test measures all of them.
"""

from __future__ import annotations

from typing import Final, NamedTuple

from language.messages import mark


class Tone(NamedTuple):
    """A color, for the light and the dark theme."""

    light: str
    dark: str


class State(NamedTuple):
    """How a state is shown: word, color, soft background, and icon as 24-unit SVG."""

    word: str
    color: Tone
    soft: Tone
    icon: str


_SIZES: Final = (
    "--size-small: .8125rem; --size-fine: .875rem; --size-text: 1rem; --size-large: 1.125rem;"
    " --size-title: 1.5rem;"
)
"""The type scale; no other sizes are used."""
_SPACES: Final = (
    "--space-1: .25rem; --space-2: .5rem; --space-3: .75rem; --space-4: 1rem; --space-6: 1.5rem;"
)
COLORS: Final = {
    "ground": Tone("#f1f4f6", "#10171c"),
    "card": Tone("#ffffff", "#1a242b"),
    "ink": Tone("#14212b", "#e8eef2"),
    "fine": Tone("#4a5965", "#a4b3be"),
    "edge": Tone("#d4dce1", "#32414b"),
    "grid": Tone("#dfe5e9", "#2b3942"),
    "brand": Tone("#0f5c6e", "#0d4b5a"),
    "on-brand": Tone("#ffffff", "#ffffff"),
    "link": Tone("#0b5a86", "#7cc7ee"),
    "line-1": Tone("#0b6fa4", "#5cb8ea"),
    "line-2": Tone("#c2410c", "#fb923c"),
    "line-3": Tone("#6d28d9", "#c4a5ff"),
    "line-4": Tone("#15803d", "#6ee7a0"),
}
STATES: Final = {
    "ok": State(
        mark("OK"),
        Tone("#1d6b45", "#7fd6a6"),
        Tone("#e8f5ee", "#143023"),
        '<path d="M4 12.5 10 18 20 6" class="line"/>',
    ),
    "notable": State(
        mark("Something in the air"),
        Tone("#5d5480", "#c9bdf0"),
        Tone("#f1eff8", "#2a2540"),
        '<path d="M3 8c3-4 6 4 9 0s6 4 9 0M3 15c3-4 6 4 9 0s6 4 9 0" class="line"/>',
    ),
    "alarm": State(
        mark("Needs a responder"),
        Tone("#b3162b", "#ff8791"),
        Tone("#fdecee", "#3f161c"),
        '<path d="M12 2 23 21H1Z" fill="currentColor"/><path d="M12 9v6m0 2.2v1.6" class="cut"/>',
    ),
    "attention": State(
        mark("Needs attention"),
        Tone("#9a5200", "#ffb65c"),
        Tone("#fff3e0", "#3a2810"),
        '<path d="M12 1 23 12 12 23 1 12Z" fill="currentColor"/>'
        '<path d="M12 7v6m0 2.4v1.6" class="cut"/>',
    ),
    "responding": State(
        mark("Responding"),
        Tone("#3a4fb0", "#a9b6ff"),
        Tone("#eceffc", "#20284a"),
        '<circle cx="12" cy="7" r="5" fill="currentColor"/>'
        '<path d="M2 22c0-6 4.5-9 10-9s10 3 10 9Z" fill="currentColor"/>',
    ),
    "done": State(
        mark("Answered"),
        Tone("#46607a", "#a9c1d8"),
        Tone("#eaf0f5", "#1f2d3a"),
        '<path d="M4 12.5 10 18 20 6" class="line"/><path d="M4 22.4h16" class="line"/>',
    ),
    "unanswered": State(
        mark("Nobody responded"),
        Tone("#8f1d5f", "#f59fcb"),
        Tone("#fbeaf3", "#3b1630"),
        '<circle cx="12" cy="7" r="4.5" class="line"/>'
        '<path d="M3 21c0-5 4-8 9-8s9 3 9 8" class="line"/><path d="M3 3 21 21" class="line"/>',
    ),
    "silenced": State(
        mark("Silenced"),
        Tone("#5f5a14", "#d8d27c"),
        Tone("#f5f4e2", "#2f2d14"),
        '<path d="M6 17V10a6 6 0 0 1 12 0v7M3.5 17.5h17M10 21.5h4M3 3 21 21" class="line"/>',
    ),
    "silent": State(
        mark("Sensor down"),
        Tone("#56616b", "#aab6be"),
        Tone("#eceff1", "#263038"),
        '<path d="M5 12h14" class="line dash"/>',
    ),
}
"""All states of rooms and incidents, by CSS class."""
SHADES: Final = ("#0f5c6e", "#6c9ba8", "#d9e7ea")
"""Colors of a bar's parts, dark to light; they differ in lightness, so they work in grayscale."""


def color_on_white(name: str) -> str:
    """Return a color of `COLORS` or of a state, for drawings and print on white."""
    return STATES[name].color.light if name in STATES else COLORS[name].light


def build_css() -> str:
    """Return colors, sizes and states as CSS custom properties."""

    def write_block(side: int) -> str:
        tones = {name: tone[side] for name, tone in COLORS.items()}
        for name, state in STATES.items():
            tones |= {name: state.color[side], f"{name}-soft": state.soft[side]}
        return " ".join(f"--{name}: {color};" for name, color in tones.items())

    text = f":root {{ {write_block(0)} {_SIZES} {_SPACES} }}\n"
    text += f"@media (prefers-color-scheme: dark) {{ :root {{ {write_block(1)} }} }}\n"
    for name in STATES:
        text += f".{name} {{ --tone: var(--{name}); --soft: var(--{name}-soft); }}\n"
    return text
