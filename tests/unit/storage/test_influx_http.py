"""Test the handling of InfluxDB's answers: refused, retried later, or explained in a message."""

import urllib.parse

import pytest

from storage.errors import BatchRefusedError, StorageUnavailableError
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from tests.support.fake_server import FakeServer

OF_3 = {"db": "air", "precision": "nanosecond", "accept_partial": "true"}


def answering(status, body=b"", headers=None, version="1.8.10"):
    """Return a server that answers every write in the same way."""

    def answer(method, path, query, sent, content):
        if path == "/ping":
            return 204, {"X-Influxdb-Version": version}, b""
        return status, headers or {}, body

    return FakeServer(answer)


def http(url, secret="hunter2", **more):  # noqa: S107 - made up
    return InfluxHttp(InfluxSettings(url, "air", secret=secret, **more))


@pytest.mark.parametrize(
    ("status", "body", "message"),
    [
        (400, b'{"error":"partial write: type conflict dropped=1"}', "dropped=1"),
        (413, b"", "413"),
        (422, b'{"message":"outside retention"}', "outside retention"),
        (401, b"", "does not accept the token"),
        (403, b"", "no permission to use database 'air'"),
        (404, b'{"error":"database not found"}', "storage setup"),
        (429, b"", "429"),
        (500, b'{"error":"engine: cache size exceeded"}', "cache"),
        (405, b"the server is readonly", "is readonly"),
        (500, b'{"error":"write /x: no space left on device"}', "no space left"),
        (404, b'{"error":"retention policy not found: m1"}', "not set up"),
        (503, b"storage is in read-only mode", "read-only mode"),
        (507, b"\x00no space\nleft", "no space left"),
        (302, b"", "302"),
    ],
)
def test_answers_to_a_write(status, body, message):
    error = BatchRefusedError if status in (400, 413, 422) else StorageUnavailableError
    headers = {"Retry-After": "120"} if status in (429, 503) else {"Location": "http://127.0.0.1:1"}
    with answering(status, body, headers) as server, pytest.raises(error, match=message) as caught:
        http(server.url).write(b"reading pm25=1 1")
    assert "hunter2" not in str(caught.value)
    assert "\n" not in str(caught.value)
    assert getattr(caught.value, "retry_after_s", None) == (120 if status in (429, 503) else None)
    assert (
        len(server.requests) == 2
    )  # one request for the version, then one write: no retry, no redirect


@pytest.mark.parametrize(
    ("version", "path", "expected"),
    [
        ("1.6.7~rc0", "/write", {"db": "air", "precision": "ns"}),
        ("v2.7.11", "/api/v2/write", {"bucket": "air", "org": "school", "precision": "ns"}),
        ("3.2.1", "/api/v3/write_lp", OF_3),
    ],
)
def test_each_generation_is_written_to_in_its_own_way(version, path, expected):
    with answering(204, version=version) as server:
        client = http(server.url, org="school")
        client.write(b"reading pm25=1 1")
        client.write(b"reading pm25=2 2")
    pings, *writes = server.requests
    assert pings[1] == "/ping"
    assert [(w[0], w[1], w[2], w[4]) for w in writes] == [
        ("POST", path, expected, b"reading pm25=1 1"),
        ("POST", path, expected, b"reading pm25=2 2"),
    ]
    assert {w[3]["Authorization"] for w in writes} == {"Token hunter2"}
    assert all("hunter2" not in "".join(w[2].values()) for w in writes)


@pytest.mark.parametrize(
    ("policy", "version", "expected"),
    [
        ("m1", "1.8.10", {"db": "air", "rp": "m1", "precision": "ns"}),
        ("m1", "v2.7.11", {"bucket": "air/m1", "org": "school", "precision": "ns"}),
        ("m15", "3.2.1", {**OF_3, "db": "air/m15"}),
    ],
)
def test_each_generation_keeps_what_is_kept_longer_in_its_own_way(policy, version, expected):
    with answering(204, version=version) as server:
        http(server.url, org="school").write(b"x y=1 1", policy)
    assert server.requests[-1][2] == expected


def test_a_server_that_was_replaced_is_asked_anew():
    versions = ["1.8.10", "v2.7.11"]

    def answer(method, path, query, headers, body):
        if path == "/ping":
            return 204, {"X-Influxdb-Version": versions[0]}, b""
        return (404 if (path == "/write") is (len(versions) == 1) else 204), {}, b""

    with FakeServer(answer) as server:
        client = http(server.url, org="school")
        client.write(b"x y=1 1")
        del versions[0]
        with pytest.raises(StorageUnavailableError, match=r"404|no database"):
            client.write(b"x y=2 2")
        client.write(b"x y=2 2")
    assert [r[1] for r in server.requests] == [
        "/ping",
        "/write",
        "/write",
        "/ping",
        "/api/v2/write",
    ]


def test_a_statement_that_changes_something_is_not_in_the_address():
    answer = b'{"results":[{}]}'
    with answering(200, answer) as server:
        http(server.url).query("CREATE USER x WITH PASSWORD 'y'", change=True)
    method, path, query, headers, body = server.requests[-1]
    assert (method, path) == ("POST", "/query")
    assert "q" not in query
    assert urllib.parse.parse_qs(body.decode()) == {"q": ["CREATE USER x WITH PASSWORD 'y'"]}
    assert headers["Content-Type"].startswith("application/x-www-form-urlencoded")


@pytest.mark.parametrize(
    ("answers", "version"),
    [
        ({"/ping": (200, {"x-influxdb-version": "v2.7.1"}, b"")}, ("v2.7.1", 2)),
        ({"/ping": (200, {}, b'{"version":"3.0.1","revision":"x"}')}, ("3.0.1", 3)),
        ({"/ping": (204, {}, b""), "/health": (200, {}, b'{"version":"v2.0.9"}')}, ("v2.0.9", 2)),
    ],
)
def test_the_generation_is_found(answers, version):
    with FakeServer(lambda _, path, *__: answers[path]) as server:
        found = http(server.url).get_server()
    assert (found.version, found.major) == version


@pytest.mark.parametrize("body", [b"<html>hello", b'{"version":"9.1"}', b'{"version":7}', b"[1]"])
def test_another_program_is_not_mistaken_for_an_influxdb(body):
    with (
        FakeServer(lambda *_: (200, {}, body)) as server,
        pytest.raises(StorageUnavailableError, match="not an InfluxDB 1, 2 or 3"),
    ):
        http(server.url).get_server()


@pytest.mark.parametrize("body", [b"", b"nonsense", b"[]", b'{"a":1}', b'{"results":[1]}'])
def test_a_query_answered_with_nonsense(body):
    with answering(200, body) as server, pytest.raises(StorageUnavailableError, match="/query"):
        http(server.url).query("SHOW DATABASES")


@pytest.mark.parametrize("url", ["influx:8086", "ftp://x", "http://", "http://user:pw@host"])
def test_urls_that_are_none(url):
    with pytest.raises(ValueError, match="URL"):
        http(url)
