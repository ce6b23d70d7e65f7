"""What the test of a room says about a sensor that missed the puff."""

import pytest

from detection.commissioning import STEPS, Response, conclusion


def response(quantity, *, seen=False):
    return Response(quantity, 4.0, 1.0, 0.5, seen, 3.0 if seen else None, None)


@pytest.mark.parametrize(
    ("responses", "said"),
    [
        ([], "s1 sent no valid particle values during the test"),
        ([response("voc_index", seen=True), response("rh")], "sent no valid particle values"),
        ([response("pm25")], "hang it nearer"),
        ([response("pm25", seen=True)], "cannot tell it from other things"),
    ],
)
def test_a_missed_puff(responses, said):
    missed = {step.name: () for step in STEPS}
    assert said in conclusion("s1", 5.0, {"puff": responses}, missed)
