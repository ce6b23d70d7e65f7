"""Test `plumewatch mapping`, and mappings in `check` and `decode`."""

import json

import pytest

from plumewatch.cli.setup.site_files import STARTER
from tests.support.broker import free_port

MAPPING = """
[[mapping]]
version = 1
name = "acme"
topic = "acme/{id}/state"
sensor = { capture = "id" }
time = { path = ["at"], formats = ["%Y-%m-%d %H:%M:%S"] }

[[mapping.field]]
quantity = "pm25"
unit = "mg/m3"
path = ["dust"]

[[mapping.example]]
topic = "acme/n2-boys-1/state"
payload = '{"dust": 0.01, "at": "2025-12-31 19:00:00"}'
sensor = "n2-boys-1"
values = { pm25 = 10 }
time = 2026-01-01T00:00:00Z
"""


OFFLINE = STARTER.replace("port = 1883", f"port = {free_port()}")


@pytest.fixture
def config(tmp_path):
    def write(more=MAPPING, base=STARTER):
        path = tmp_path / "plumewatch.toml"
        path.write_text(base + more)
        return path

    return write


class TestSuggest:
    PAYLOAD = '{"pm25": 7, "rh": 41}\n'

    def test_from_files_one_sample_each_or_one_a_line(self, call, tmp_path):
        (tmp_path / "one.json").write_text('{\n  "pm25": 7\n}\n')
        (tmp_path / "lines").write_text('{"pm25": 8}\n\n{"pm25": 9, "co2": 600}\r\n')
        result = call(
            "mapping", "suggest", "--topic", "lab/b7/x", tmp_path / "one.json", tmp_path / "lines"
        )
        assert result.exit_code == 0
        assert result.stdout.count("[[mapping.example]]") == 3
        assert 'quantity = "co2"' in result.stdout

    def test_the_suggestion_is_configuration_that_passes_as_it_is(self, call, config):
        text = call("mapping", "suggest", "--topic", "lab/b7/x", input=self.PAYLOAD).stdout
        found = call("check", "--config", config(text, OFFLINE)).stdout
        assert "their 1 example passes; lab-b7-x: no time is read" in found

    def test_name_and_zone(self, call, config):
        payload = '{"pm25": 7, "time": "2026-09-21 10:13:20"}'
        result = call(
            *("mapping", "suggest", "--topic", "lab/b7/x", "--name", "lab"),
            *("--config", config()),
            input=payload,
        )
        assert 'name = "lab"' in result.stdout
        assert "time = 1790000000.0" in result.stdout

    LINE = "2026-09-21T14:13:10Z,7,41\n"
    INFLUX = "air,device=b7 pm25=7.1,rh=44.2 1790000000000000000\n"

    def test_a_terminal_is_asked_until_the_columns_are_right(self, call, tmp_path, monkeypatch):
        monkeypatch.setattr("plumewatch.cli.decode.can_ask", lambda: True)
        (tmp_path / "line").write_text(self.LINE)
        answers = iter(["time,pm25", "time,pm25,humidty", "time,pm25,humidity"])
        monkeypatch.setattr("plumewatch.cli.decode.ask_person", lambda _text: next(answers))
        result = call("mapping", "suggest", "--topic", "lab/b7/x", tmp_path / "line")
        assert (result.exit_code, [*answers]) == (0, [])
        assert "2 names for 3 columns" in result.stderr
        assert "did you mean 'humidity'" in result.stderr
        assert 'quantity = "rh"' in result.stdout

    @pytest.mark.parametrize(
        ("topic", "payload", "code", "said"),
        [
            ("tele/b7/SENSOR", PAYLOAD, 0, "decoder 'tasmota' already reads this topic; a mapping"),
            ("lab/b7/x", LINE, 1, "--columns"),
            ("telegraf/b7/x", INFLUX, 1, 'decoder "influx" reads it: add [[route]] topic = "tele'),
            (None, PAYLOAD, 2, "--topic"),
        ],
    )
    def test_what_a_script_is_told(self, call, topic, payload, code, said):
        result = call("mapping", "suggest", *(("--topic", topic) if topic else ()), input=payload)
        assert result.exit_code == code
        assert said in result.stderr


COMPANION = """
[[mapping]]
version = 1
name = "climate"
topic = "acme/{id}/climate"
sensor = { capture = "id" }

[[mapping.field]]
quantity = "tvoc_ppb"
unit = "ppb"
path = ["voc"]

[[mapping.example]]
topic = "acme/hall/climate"
payload = '{"voc": 10}'
sensor = "hall"
values = { tvoc_ppb = 10 }
"""


class TestLacks:
    """Values that a mapping does not read, but that its sensor needs to detect vaping."""

    BLIND = "no particles are read, so a sensor that nothing else reads cannot detect vaping"
    TIMELESS = "no time is read, so the receive time is used"

    def check(self, call, config, *mappings):
        return call("check", "--config", config("".join(mappings), OFFLINE)).stdout

    def test_check(self, call, config):
        found = self.check(call, config, MAPPING, COMPANION)
        assert f"warn  mappings: climate: {self.BLIND}\n      do: if the device sends" in found
        assert f"their 2 examples pass; climate: {self.TIMELESS}\n" in found

    @pytest.mark.parametrize(("also", "unit"), [("rh", "%"), ("pm1", "mg/m3")])
    def test_particles_without_gas_or_sizes_are_rarely_more_than_possible(
        self, call, config, also, unit
    ):
        field = f'[[mapping.field]]\nquantity = "{also}"\nunit = "{unit}"\npath = ["also"]\n'
        found = self.check(
            call, config, MAPPING.replace("[[mapping.field]]", f"{field}[[mapping.field]]", 1)
        )
        warning = "acme: neither gas nor PM1 is read, so most puffs are reported only as possible"
        assert (warning in found) == (also == "rh")

    def test_another_mapping_of_the_sensor_reads_them(self, call, config):
        found = self.check(call, config, MAPPING, COMPANION.replace("hall", "n2-boys-1"))
        assert "cannot detect vaping" not in found


class TestExamples:
    def test_check_runs_them(self, call, config):
        result = call("check", "--config", config(base=OFFLINE))
        assert result.exit_code == 3  # no broker
        assert "ok    mappings: acme; their 1 example passes\n" in result.stdout
        result = call("check", "--config", config(MAPPING.replace("pm25 = 10", "pm25 = 11")))
        assert result.exit_code == 2
        fault, remedy = result.stdout.splitlines()
        assert fault == (
            "FAULT [[mapping]] acme: example number 1: pm25 is 10, not 11:"
            " mapping 'acme' and its example must agree: correct one of them"
        )
        assert remedy.strip().startswith("do: change [[mapping]] acme: example")
        lines = config(base=STARTER.replace("= 5", '= "5 s"', 1)).read_text().splitlines()
        number = lines.index('interval_s = "5 s"') + 1
        found = call("check", "--config", config(base=STARTER.replace("= 5", '= "5 s"', 1)))
        assert f"plumewatch.toml, line {number}\n" in found.stdout

    FAULTY = MAPPING.replace("0.01,", "65535,").replace(
        "values = { pm25 = 10 }", 'faults = ["pm25"]'
    )

    def test_faults_in_them_are_named(self, call, config):
        """A sentinel in some examples is intended; a fault in every example is not."""
        example = self.FAULTY[self.FAULTY.index("[[mapping.example]]") :]
        found = call("check", "--config", config(MAPPING + example, OFFLINE)).stdout
        assert "ok    mappings: acme; their 2 examples pass (1 with faults)\n" in found
        found = call("check", "--config", config(self.FAULTY, OFFLINE)).stdout
        assert "warn  mappings: acme: no example has a value for pm25, only faults\n" in found

    def test_run_refuses_to_start(self, call, config):
        result = call("run", "--config", config(MAPPING.replace("pm25 = 10", "pm25 = 11")))
        assert result.exit_code == 2
        assert "[[mapping]] acme: example number 1" in result.stderr


class TestDecode:
    PAYLOAD = '{"dust": 0.0125, "at": "2026-09-21 10:13:20"}'

    def test_by_topic_with_the_zone_of_the_site(self, call, config):
        result = call(
            "decode", "--topic", "acme/b7/state", "--config", config(), input=self.PAYLOAD
        )
        assert (result.exit_code, result.stderr) == (0, "")
        assert json.loads(result.stdout) == {
            "sensor": "b7",
            "time": 1_790_000_000.0,
            "values": {"pm25": 12.5},
            "events": [],
            "faults": [],
        }

    def test_by_name(self, call, config):
        arguments = ("decode", "--topic", "acme/b7/state", "--decoder", "mapping:acme")
        assert call(*arguments, "--config", config(), input=self.PAYLOAD).exit_code == 0
        result = call(*arguments, input=self.PAYLOAD)
        assert result.exit_code == 2
        assert "no decoder 'mapping:acme'" in result.stderr

    def test_a_sensors_decoder_and_routes_count(self, call, config):
        more = '\n[[route]]\ntopic = "door/+"\ndecoder = "airgradient"\n'
        base = STARTER.replace('model = "sen55"', 'decoder = "airgradient"')
        for topic, path in (("door/b7", (more,)), ("odd/n2-boys-1", ("", base))):
            arguments = ("decode", "--topic", topic, "--config", config(*path))
            result = call(*arguments, input='{"wifi":-5,"rco2":600}')
            assert json.loads(result.stdout)["values"]["co2"] == 600.0
