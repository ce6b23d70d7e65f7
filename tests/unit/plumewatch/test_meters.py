"""Test the text that Prometheus reads."""

from prometheus_client import Histogram
from prometheus_client.parser import text_string_to_metric_families

from plumewatch.service.meters import Meter, Meters
from storage.errors import StorageUnavailableError


def exposition(*meters):
    return Meters(meters).format_metrics()


def test_prometheus_reads_what_is_written():
    meter = Meter("x", "A\nB\\", lambda: {'a\\b"c\nd': 2}, kind="counter", labels=("reason",))
    (family,) = text_string_to_metric_families(exposition(meter))
    assert (family.name, family.documentation, family.type) == ("plumewatch_x", "A\nB\\", "counter")
    assert [(s.name, s.labels, s.value) for s in family.samples] == [
        ("plumewatch_x_total", {"reason": 'a\\b"c\nd'}, 2.0)
    ]


def test_a_meter_without_samples_is_left_out():
    assert exposition(Meter("x", "X.", dict, kind="counter", labels=("what",))) == ""
    assert exposition(Meter("x", "X.", lambda: None)) == ""


def test_histogram():
    waits = Histogram("waits", "", buckets=(0.1, 1), registry=None)
    for seconds in (0.0, 0.1, 0.2, 5.0):
        waits.observe(seconds)
    text = exposition(Meter("w_seconds", "W.", lambda: waits, kind="histogram"))
    (family,) = text_string_to_metric_families(text)
    values = {
        (s.name.removeprefix("plumewatch_w_seconds"), s.labels.get("le")): s.value
        for s in family.samples
    }
    assert values == {
        ("_bucket", "0.1"): 2,
        ("_bucket", "1.0"): 3,
        ("_bucket", "+Inf"): 4,
        ("_sum", None): 5.3,
        ("_count", None): 4,
    }


def test_a_number_that_cannot_be_read_leaves_the_others(caplog):
    def read():
        raise StorageUnavailableError("disk I/O error")

    meters = Meters((Meter("x", "X.", read), Meter("y", "Y.", lambda: 1)))
    for _ in range(3):
        assert "plumewatch_y 1" in meters.format_metrics()
        assert "plumewatch_x" not in meters.format_metrics()
    assert caplog.text.count("x cannot be read: disk I/O error") == 1
