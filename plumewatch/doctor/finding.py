"""One thing that was found out, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from plumewatch.cli.printer import Printer

_WORDS: Final = {(True, False): "ok   ", (True, True): "warn ", (False, False): "FAULT"}


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one part.

    Attributes
    ----------
    part : str
        Such as ``"broker"``.
    ok : bool
        Whether the service can do its work with it.
    warning : bool
        Something is ok and still to be looked at.
    remedy : str
        What to do; needed where something is not ok or a warning.
    """

    part: str
    ok: bool
    sentence: str
    warning: bool = False
    remedy: str = ""

    def __post_init__(self) -> None:
        """Let no trouble be told without what to do about it."""
        if (self.warning or not self.ok) and not self.remedy:
            raise ValueError(f"{self.part}: a finding that is not well needs a remedy")


def fine(part: str, sentence: str) -> Finding:
    """Make a finding that is well."""
    return Finding(part, ok=True, sentence=sentence)


def warn(part: str, sentence: str, remedy: str) -> Finding:
    """Make a finding that works and should be better."""
    return Finding(part, ok=True, sentence=sentence, warning=True, remedy=remedy)


def fault(part: str, sentence: str, remedy: str) -> Finding:
    """Make a finding that does not work, or loses data."""
    return Finding(part, ok=False, sentence=sentence, remedy=remedy)


def tell(found: Finding, printer: Printer) -> None:
    """Print a finding: a line, and below it what to do."""
    what_to_do = f"\n      do: {found.remedy}" if found.remedy else ""
    fields: dict[str, object] = {"part": found.part, "ok": found.ok, "finding": found.sentence}
    if found.warning:
        fields["warning"] = True
    if found.remedy:
        fields["remedy"] = found.remedy
    printer.say(
        f"{_WORDS[found.ok, found.warning]} {found.part}: {found.sentence}{what_to_do}", **fields
    )
