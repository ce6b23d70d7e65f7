"""The text format: what Prometheus reads, and nothing that breaks it."""

import re

import pytest

from plumewatch.service.metrics import Family, Histogram, exposition

LINE = re.compile(
    r"# (HELP|TYPE) [a-z_]+ .+"
    r'|[a-z_]+(\{([a-z]+="([^"\\\n]|\\["\\n])*",?)*\})? (-?[0-9.e+-]+)'
)


def test_labels_are_escaped():
    text = exposition([Family("x_total", "counter", "A\nB\\", [({"reason": 'a\\b"c\nd'}, 2)])])
    assert text == (
        '# HELP x_total A\\nB\\\\\n# TYPE x_total counter\nx_total{reason="a\\\\b\\"c\\nd"} 2\n'
    )
    assert all(LINE.fullmatch(line) for line in text.splitlines())


def test_a_family_without_samples_is_left_out():
    assert exposition([Family("x_total", "counter", "X.")]) == ""


@pytest.mark.parametrize(("value", "text"), [(3.0, "3"), (0.25, "0.25"), (1e-9, "1e-09"), (0, "0")])
def test_numbers(value, text):
    assert exposition([Family("x", "gauge", "X.", [({}, value)])]).endswith(f"\nx {text}\n")


def test_histogram():
    waits = Histogram((0.1, 1))
    for seconds in (-5.0, 0.1, 0.2, 5.0):
        waits.observe(seconds)
    text = exposition([Family("w_seconds", "histogram", "W.", histogram=waits)])
    assert text.splitlines()[2:] == [
        'w_seconds_bucket{le="0.1"} 2',
        'w_seconds_bucket{le="1"} 3',
        'w_seconds_bucket{le="+Inf"} 4',
        "w_seconds_sum 5.3",
        "w_seconds_count 4",
    ]
    assert waits.count == 4
