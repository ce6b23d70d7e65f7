"""What a session is subscribed to is remembered, or else nothing is."""

import logging

from ingest.broker import Subscriptions


def test_remembered_for_the_session_alone(tmp_path):
    one = Subscriptions(tmp_path / "held", "a@broker:1883")
    assert one.current() == ()
    one.remember(["b/#", "a/+/c", "b/#"])
    assert Subscriptions(tmp_path / "held", "a@broker:1883").current() == ("a/+/c", "b/#")
    assert Subscriptions(tmp_path / "held", "a@other:1883").current() == ()
    one.remember(["x"])
    assert one.current() == ("x",)
    assert [p.name for p in tmp_path.iterdir()] == ["held"]


def test_a_file_that_is_none_counts_as_empty(tmp_path):
    path = tmp_path / "held"
    for junk in (b"", b"{", b"[]", b'{"session": "s", "filters": 7}', b"\xff"):
        path.write_bytes(junk)
        assert Subscriptions(path, "s").current() == ()


def test_a_disk_that_refuses_is_said_and_stops_nothing(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        Subscriptions(tmp_path / "no folder" / "held", "s").remember(["a"])
    assert "cannot remember" in caplog.text
