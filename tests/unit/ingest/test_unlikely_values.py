"""Test that implausible values are reported only after a run without a contradicting value."""

import pytest

from ingest.integrity import UnlikelyValues


@pytest.mark.parametrize(
    ("quantity", "values", "said"),
    [
        ("pm25", [0.006, 0.007, 0.006, 0.008, 0.009, 0.006], True),
        ("pm25", [0.006] * 20, False),  # a constant is not a measurement
        ("pm25", [0.0] * 20, False),
        ("pm25", [0.006, 0.0, 0.007, 0.0, 0.006, 0.008, 0.009, 0.006], True),
        ("pm25", [0.006, 0.007, 0.006, 3.0, 0.008, 0.009, 0.006], False),
        ("pm10", [0.016, 0.017, 0.016, 0.018, 0.019, 0.016], True),
        ("rh", [0.41] * 5, True),
        ("rh", [0.41] * 4, False),
        ("rh", [0.0] * 20, False),
        ("rh", [0.41, 0.41, 41.0, 0.41, 0.41, 0.41], False),
        ("temp", [70.1] * 5, True),
        ("temp", [70.1, 70.1, 21.0, 70.1, 70.1], False),
    ],
)
def test_a_run_of_values_in_another_unit(quantity, values, said):
    found = UnlikelyValues()
    for value in values:
        found.add("s1", {quantity: value, "voc_index": 100.0})
    assert found.list_quantities("s1") == ((quantity,) if said else ())
