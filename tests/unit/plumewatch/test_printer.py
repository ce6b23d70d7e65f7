import io
from collections import Counter

from plumewatch.printer import Printer


def test_a_narrow_terminal_cuts_nothing_off():
    columns, cells = ("Sensor", "Last live reading"), ("n2-boys-1", "2026-11-25 13:10:41-05:00")
    out = io.StringIO()
    Printer(out).table(columns, [({}, cells)], width=16)
    text = out.getvalue()
    assert max(map(len, text.splitlines())) == 16
    printed = Counter(text.replace("\N{BOX DRAWINGS LIGHT HORIZONTAL}", ""))
    given = Counter("".join((*columns, *cells)))
    assert {c: printed[c] for c in given if c != " "} == {c: given[c] for c in given if c != " "}
