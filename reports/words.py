"""Times in words, the same on the page of figures and in documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


def seconds(value: float | None) -> str:
    """Say a span of time.

    Examples
    --------
    >>> seconds(4.25), seconds(75.0), seconds(7300.0), seconds(None)
    ('4.2 s', '1 min 15 s', '2 h 1 min', '—')
    """
    if value is None:
        return "—"
    if value < 10:
        return f"{value:.1f} s"
    whole = round(value)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def times_said(values: Mapping[str, float | None]) -> str:
    """Say what a median rests on, and that those who never acknowledged are not in it.

    Parameters
    ----------
    values : mapping of str to float or None
        Of a figure (`reports.figures`) that is a time.

    Examples
    --------
    >>> one = {"median": 255.0, "p90": 255.0, "mean": 255.0, "n": 1.0}
    >>> times_said(one)
    'median; p90 4 min 15 s, mean 4 min 15 s, n = 1'
    >>> times_said(one | {"notified": 42.0, "unacknowledged": 41.0, "median_all": None})
    'median; p90 4 min 15 s, mean 4 min 15 s, n = 1; 41 of 42 never, median with those: never'
    """
    said = f"median; p90 {seconds(values['p90'])}, mean {seconds(values['mean'])}"
    said += f", n = {values['n']:.0f}"
    if values.get("notified"):
        said += f"; {values['unacknowledged']:.0f} of {values['notified']:.0f} never"
        middle = values["median_all"]
        said += f", median with those: {'never' if middle is None else seconds(middle)}"
    return said
