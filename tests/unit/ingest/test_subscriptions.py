"""Test that a session's subscriptions are stored completely or not at all."""

import logging
import stat

from ingest.mqtt.connection import BrokerSettings, load_client_id, make_client_id
from ingest.mqtt.source import Subscriptions, make_canary_topic


def of(path, client_id="a", host="broker", port=1883):
    return Subscriptions(path, BrokerSettings(host, port, client_id))


def test_remembered_for_the_session_alone(tmp_path):
    one = of(tmp_path / "held")
    assert one.get_filters() == ()
    one.remember(["b/#", "a/+/c", "b/#"])
    assert of(tmp_path / "held").get_filters() == ("a/+/c", "b/#")
    assert of(tmp_path / "held", host="other").get_filters() == ()
    one.remember(["x"])
    assert one.get_filters() == ("x",)
    assert [p.name for p in tmp_path.iterdir()] == ["held"]


def test_a_file_that_is_none_counts_as_empty(tmp_path):
    path = tmp_path / "held"
    for junk in (b"", b"{", b"[]", b'{"session": "s", "filters": 7}', b"\xff"):
        path.write_bytes(junk)
        assert of(path).get_filters() == ()


def test_a_failing_disk_is_reported_and_stops_nothing(tmp_path, caplog):
    with caplog.at_level(logging.WARNING):
        of(tmp_path / "no folder" / "held").remember(["a"])
    assert "cannot remember" in caplog.text


def test_a_client_id_is_random_and_kept_for_its_owner_alone(tmp_path, caplog):
    assert make_client_id() != make_client_id()
    path = tmp_path / "client-id"
    kept = load_client_id(path)
    assert load_client_id(path) == kept
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert caplog.text == ""
    path.write_text("")  # left by a full disk
    assert load_client_id(path) not in ("", kept)
    assert "contains no client id" in caplog.text


def test_the_topic_of_canaries_does_not_reveal_the_client_id():
    one = make_client_id()
    assert one.removeprefix("plumewatch-") not in make_canary_topic(one)
    assert make_canary_topic(one) == make_canary_topic(one) != make_canary_topic(make_client_id())
