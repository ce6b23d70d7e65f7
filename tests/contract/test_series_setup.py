"""Test server-side retention and averages with a real 1.x, and the requests to 2.x and 3."""

import json
import time as clock
from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from plumewatch.cli.setup.site_files import STARTER
from storage.errors import StorageUnavailableError
from storage.reading import Reading
from storage.registry import Registry, Room, Sensor, Site
from storage.timeseries.influx import InfluxSeries
from storage.timeseries.influx_http import InfluxHttp, InfluxSettings
from storage.timeseries.influx_setup import (
    find_bucket,
    find_organization,
    make_account,
    set_up,
    set_up_server,
)
from storage.timeseries.resolution import Retention
from tests.support.command import plumewatch
from tests.support.fake_server import FakeServer
from tests.support.influx import Influxd, influxql
from tests.support.influx_standin import InfluxDb2, InfluxDb3

DAY = 86_400.0
RETENTION = Retention(raw_days=4, minute_days=40_000, quarter_hour_days=50_000)
OWN = [Room("r", "R", "", "B", "S")], [Sensor("s", "r"), Sensor("t", "r")]
REGISTRY = Registry.build(*OWN)
CLOSED = Registry.build(*OWN, [Site("S", "S", "UTC", date(2026, 1, 1))])


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with Influxd(tmp_path_factory.mktemp("influxd")) as found:
        yield found


def settings(server, name="air"):
    return InfluxSettings(server.url, name, org="school", secret="secret")


def done(http, retention=RETENTION):
    return list(set_up(http, retention))


def average(series, now):
    while series.tidy(now):
        pass


def test_on_1x(server, tmp_path):
    now = clock.time()  # the server uses its own clock for deletion
    start = now // 900 * 900 - 3 * DAY
    http = InfluxHttp(settings(server))
    first = done(http)
    assert first[:2] == ["database 'air'", "readings are kept for 4 days"]
    with InfluxSeries(settings(server), REGISTRY, tmp_path / "i.db", RETENTION, lambda: now) as s:
        values = np.random.default_rng(1).uniform(1, 50, 3 * 1440)
        s.write(
            [Reading("s", start + 60.0 * i + 7, now, {"pm25": v}) for i, v in enumerate(values)]
            + [Reading("t", start + 60.0 * i + 7, now, {"rh": 40.0}) for i in range(100)],
            1,
        )
        assert done(http)[1:3] == first[1:3]
        average(s, now)
        for every in (60, 900, 3600):
            minutes = start + 60.0 * np.arange(len(values))
            time, first_of = np.unique(minutes // every * every, return_index=True)
            for aggregate, of in (("mean", np.mean), ("min", np.min), ("max", np.max)):
                rolled = s.aggregate_readings("s", start, now, every, aggregate)
                np.testing.assert_array_equal(rolled[0], time)
                expected = [of(part) for part in np.split(values, first_of[1:])]
                np.testing.assert_allclose(rolled[1]["pm25"], expected, rtol=1e-9)
        with InfluxSeries(settings(server), CLOSED, tmp_path / "closed.db", RETENTION) as closed:
            assert len(closed.read_window("s", start, start + 600)[0]) == 10
            np.testing.assert_array_equal(closed.aggregate_readings("s", start, now, 3600)[0], time)
        http.query('DROP SERIES FROM "reading"', change=True)
        assert s.read_latest() == {}
    policies = http.query('SHOW RETENTION POLICIES ON "air"')[0]["values"]
    kept = {row[0]: (row[1], row[-1]) for row in policies}
    assert kept["autogen"] == ("96h0m0s", True)
    assert kept["m1"] == ("960000h0m0s", False)


def test_old_spans_are_answered_by_averages(server, tmp_path):
    now = 2_000_000_000.0  # by our clock, the readings are older than the retention
    start = 1_900_000_800.0
    http = InfluxHttp(settings(server, "old"))
    where = settings(server, "old"), REGISTRY, tmp_path / "i.db"
    with InfluxSeries(*where, RETENTION, clock=lambda: now) as s:
        influxql(server.url, "CREATE DATABASE old")
        s.write([Reading("s", start + 10.0 * i, now, {"pm25": float(i)}) for i in range(180)], 1)
        done(http)
        average(s, start + 3600)
        time, values = s.aggregate_readings("s", start, start + 1800, 10, "max")
    assert time.tolist() == [start + 60 * i for i in range(30)]
    assert values["pm25"].tolist() == [5.0 + 6 * i for i in range(30)]


def test_late_readings_get_averages(server, tmp_path):
    """Readings from many hours arrive late, one for every ten quarter hours."""
    now = clock.time() // 900 * 900 + 100
    http = InfluxHttp(settings(server, "holes"))
    done(http)
    names = settings(server, "holes")
    with InfluxSeries(names, REGISTRY, tmp_path / "i.db", RETENTION, lambda: now) as s:
        quarters = [now - 100 - 900 * k for k in range(1, 300, 10)]
        s.write(
            [Reading("s", q + 30.0 * i, now, {"pm25": 4.0}) for q in quarters for i in range(30)], 1
        )
        assert s.fetch_rows("SELECT count(*) FROM stale")[0][0] == len(quarters)
        average(s, now)
        assert s.fetch_rows("SELECT * FROM stale") == []
        of_service = http.query('SELECT "n" FROM "m15"."reading_15m"')[0]["values"]
        assert sorted(row[0] // 10**9 for row in of_service) == sorted(quarters)


def test_a_database_of_others_is_left_alone(server):
    influxql(server.url, "CREATE DATABASE theirs")
    http = InfluxHttp(settings(server, "theirs"))
    http.write(b"cpu usage=1 1790000000000000000")
    with pytest.raises(StorageUnavailableError, match="also contains cpu"):
        done(http)
    (policy,) = http.query('SHOW RETENTION POLICIES ON "theirs"')[0]["values"]
    assert policy[1] == "0s"


@pytest.fixture
def of_2(server):
    """Return a stand-in for 2.x, and the settings for this test's bucket."""
    standin = InfluxDb2(server.url)
    with FakeServer(standin) as stub:
        yield standin, InfluxSettings(stub.url, "two", org="school", secret="secret")
    influxql(server.url, 'DROP DATABASE "two"')


@pytest.mark.parametrize("virtual", [True, False])
def test_on_2x(of_2, virtual):
    standin, settings = of_2
    standin.virtual = virtual
    http = InfluxHttp(settings)
    done(http)
    done(http, Retention(5, 50, 500))
    kept = {name: row[1] for name, row in standin.policies("two").items()}
    assert kept == {"autogen": "120h0m0s", "m1": "1200h0m0s", "m15": "12000h0m0s"}
    assert virtual or standin.mappings == {
        ("two", policy): standin.id_of(name)
        for policy, name in (("autogen", "two"), ("m1", "two/m1"), ("m15", "two/m15"))
    }
    made, *_ = done(InfluxHttp(replace(settings, org="other")))
    assert made == "organization 'other' created"


@pytest.mark.parametrize("wanted", [[], [True], [True, False]])
def test_on_2x_by_an_administrator_of_another_organization(of_2, wanted):
    """InfluxQL runs in the token's organization, so the administrator's token doesn't work."""
    standin, settings = of_2
    steps = []
    for _ in range(2):
        made = set_up_server(replace(settings, org="lincoln"), RETENTION, wanted, steps.append)
        assert sorted(made) == sorted(wanted)
    assert steps[-1] == "checked: everything can be written" + (" and read" if wanted else "")
    assert standin.orgs == ["school", "lincoln"]
    assert {standin.org_of_token[account.secret] for account in made.values()} <= {"lincoln"}


def test_a_mapping_to_another_bucket_is_left_alone(of_2):
    standin, settings = of_2
    standin.mappings["two", "m1"] = "theirs"
    with pytest.raises(StorageUnavailableError, match=r"two\.m1 to another bucket"):
        done(InfluxHttp(settings))
    assert standin.mappings["two", "m1"] == "theirs"


def test_a_bucket_of_averages_that_was_deleted_is_named(of_2):
    """The deleted bucket's mapping stays, so 2.x answers queries with empty results."""
    standin, settings = of_2
    http = InfluxHttp(settings)
    done(http)
    with InfluxSeries(settings, Registry(), ":memory:") as series:
        series.check_set_up()
        bucket = find_bucket(http, find_organization(http), "two/m1")
        http.call_client(lambda client: client.buckets_api().delete_bucket(bucket))
        assert series.http.query('SELECT "n" FROM "two"."m1"."reading_1m"', "m1") == []
        with pytest.raises(StorageUnavailableError, match=r'no bucket.*"two/m1" not found'):
            series.check_set_up()
        standin.tokens["reads"] = {
            ("read", standin.id_of(name)) for name in ("two", "two/m1", "two/m15")
        }
    done(http)
    reader = replace(settings, secret="reads")
    with (
        InfluxSeries(reader, Registry(), ":memory:") as series,
        pytest.raises(StorageUnavailableError, match="no permission to write to bucket"),
    ):
        series.check_set_up()


@pytest.mark.parametrize("writes", [False, True])
def test_a_token_of_2x_for_these_buckets_alone(of_2, writes):
    standin, settings = of_2
    http = InfluxHttp(settings)
    with pytest.raises(StorageUnavailableError, match="no bucket 'two'"):
        make_account(http, writes=writes)
    done(http)
    _, secret, output = make_account(http, writes=writes)
    assert "nothing else" in output
    assert standin.tokens[secret] == {
        (action, standin.id_of(bucket))
        for bucket in ("two", "two/m1", "two/m15")
        for action in (("read", "write") if writes else ("read",))
    }


class TestOn3:
    def test_databases_are_made_and_those_there_get_their_retention(self, server):
        influxql(server.url, "CREATE DATABASE air3")
        standin = InfluxDb3(server.url)
        with FakeServer(standin) as stub:
            output = done(InfluxHttp(settings(stub, "air3")))
        kept = {name: row[1] for name, row in standin.policies("air3").items()}
        assert kept == {
            "autogen": "96h0m0s",
            "m1": "960000h0m0s",
            "m15": "1200000h0m0s",
        }
        influxql(server.url, "DROP DATABASE air3")
        assert output[0].startswith("database 'air3': already exists, kept for 4 days")
        assert output[1:3] == [
            "database 'air3/m1': kept for 40,000 days",
            "database 'air3/m15': kept for 50,000 days",
        ]

    def test_a_server_that_has_its_five_databases_makes_no_more(self, server):
        full = InfluxDb3(server.url, names=("a", "b", "c", "d"))
        with (
            FakeServer(full) as stub,
            pytest.raises(StorageUnavailableError, match="limit of databases reached"),
        ):
            done(InfluxHttp(settings(stub, "full3")))

    def test_a_check_makes_no_database(self, server):
        """An empty write would create a database without a retention period."""
        with FakeServer(InfluxDb3(server.url)) as stub:
            with pytest.raises(StorageUnavailableError, match="has no database 'nowhere3'"):
                InfluxHttp(settings(stub, "nowhere3")).check_connection()
            assert not [path for _, path, *_ in stub.requests if "write" in path]

    def test_a_month_of_averages_takes_few_writes(self, server, tmp_path):
        """Each write to InfluxDB 3 takes a second, so writes are combined."""
        now = clock.time()
        first = now // 900 * 900 - 300 * 900
        influxql(server.url, "CREATE DATABASE month3")
        for policy in ("m1", "m15"):
            statement = f'CREATE RETENTION POLICY "{policy}" ON month3 DURATION INF REPLICATION 1'
            influxql(server.url, statement)
        with (
            FakeServer(InfluxDb3(server.url)) as stub,
            InfluxSeries(
                settings(stub, "month3"), REGISTRY, tmp_path / "i.db", RETENTION, lambda: now
            ) as s,
        ):
            times = [first + 900 * k + 1 for k in range(290) if k % 100]  # leave gaps
            s.write([Reading("s", at, now, {"pm25": 4.0}) for at in times], 1)
            del stub.requests[:]
            average(s, now)
            writes = [path for _, path, *_ in stub.requests if "write" in path]
            assert len(writes) <= 12
            quarters, values = s.aggregate_readings("s", first, now, 900, "max")
            assert quarters.tolist() == [at - 1 for at in times]
            assert set(values["pm25"]) == {4.0}
            found = {
                level: influxql(server.url, f'SELECT "n" FROM "{level}"./reading_.*/', "month3")  # noqa: S608
                for level in ("m1", "m15")
            }
        for answer in found.values():
            (series,) = json.loads(answer)["results"][0]["series"]
            assert len(series["values"]) == len(times)

    def test_no_account_that_may_only_read(self):
        with FakeServer(lambda *_: (200, {}, b'{"version":"3.1.0"}')) as stub:
            http = InfluxHttp(InfluxSettings(stub.url, "air"))
            with pytest.raises(StorageUnavailableError, match="only administrator tokens"):
                make_account(http, writes=False)


def test_a_user_of_1x_that_may_only_read(tmp_path):
    with Influxd(tmp_path, auth=True) as server:
        influxql(server.url, "CREATE USER root WITH PASSWORD 'right' WITH ALL PRIVILEGES")
        config = tmp_path / "plumewatch.toml"
        (tmp_path / "root").write_text("right")
        (tmp_path / "root").chmod(0o600)
        config.write_text(
            f'{STARTER}\n[timeseries]\nurl = "{server.url}"\ndatabase = "air"\n'
            'username = "root"\ntoken_file = "root"\nraw_days = 7\n'
        )

        def setup(reader_file):
            words = ("-c", config, "--reader-file", reader_file)
            return plumewatch("storage", "setup", *words)

        first = setup(tmp_path / "reader")
        assert first.code == 0
        assert "user 'air_reader' can read 'air' and nothing else" in first.out
        secret = (tmp_path / "reader").read_text().strip()
        assert (tmp_path / "reader").stat().st_mode & 0o777 == 0o600
        assert secret not in first.out
        assert setup(tmp_path / "reader").code == 2  # never overwritten
        words = ("-c", config, "--service-file", tmp_path / "service")
        made = plumewatch("storage", "setup", *words)
        assert "user 'air_service' can read and write 'air' and nothing else" in made.out


class TestCommand:
    def run(self, tmp_path, timeseries=""):
        path = tmp_path / "plumewatch.toml"
        path.write_text(f"{STARTER}\n{timeseries}")
        ran = plumewatch("storage", "setup", "-c", path, now=1_790_000_000.0)
        return ran.code, ran.out

    def test_embedded(self, tmp_path):
        code, output = self.run(tmp_path)
        assert code == 0
        assert "for 30 days, averages of 1 min for 730 and of 15 min for 1826 days" in output
