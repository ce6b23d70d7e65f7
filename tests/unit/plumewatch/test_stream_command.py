"""Test the error messages of ``plumewatch stream``."""

import pytest

from tests.support.command import plumewatch


def run(folder, *words):
    where = ["--checkpoint", folder / "state", "--events", folder / "events"]
    return plumewatch("stream", *words, *where)


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        ((), 2, "either HISTORY or --kafka"),
        (("H", "--kafka", "k:9092"), 2, "either HISTORY or --kafka"),
        (("--kafka", "k:9092"), 2, "need --config"),
        (("--kafka", "k:9092", "--kafka-option", "x"), 2, "KEY=VALUE"),
        (("--kafka", "k:9092", "--kafka-option", "a.b=@none"), 2, "none"),
        (("H", "--kafka-option", "a=b"), 2, "needs --kafka"),
        (("H", "--publish"), 2, "need --config"),
        (("H", "--conf", "spark.x"), 2, "KEY=VALUE"),
        (("nowhere",), 1, "no such folder"),
    ],
)
def test_faults_are_reported_before_spark_starts(history, tmp_path, words, code, message):
    found = run(tmp_path, *(history if word == "H" else word for word in words))
    assert (found.code, found.out) == (code, "")
    assert message in found.err
