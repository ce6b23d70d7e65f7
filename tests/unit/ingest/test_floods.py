"""Names that flood."""

import pytest

from ingest.floods import FLOODING_S, Floods

T0 = 1_800_000_000.0


@pytest.mark.parametrize(
    ("of_one", "of_others", "over_s", "floods"),
    [
        (1_001, 0, 5.0, True),
        (1_000, 0, 5.0, False),
        (1_001, 0, 25.0, False),  # fifty a second
        (1_001, 3_100, 5.0, False),  # so many have something to say
        (1_001, 2_900, 5.0, True),
    ],
)
def test_a_name_that_floods_is_found_at_once(of_one, of_others, over_s, floods):
    watch = Floods()
    for k in range(of_others):
        watch.on_live(f"other-{k}", T0, queued=True)
    found = [watch.on_live("loud", T0 + over_s * k / of_one, queued=True) for k in range(of_one)]
    now = T0 + over_s
    assert any(found) is floods
    assert watch.flooding(now) == ({"loud": True} if floods else {})
    assert watch.flooding(now + FLOODING_S) == {}
    assert watch.flooding(now - 3_600) == {}, "the clock was set back"
