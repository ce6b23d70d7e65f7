"""Test that no configured secret appears in command output, logs, pages or `repr`.

All external services are missing, so every part of the service reports errors. `test_notifiers.py`
tests the notifiers' error messages in the same way.
"""

import signal
from pathlib import Path

import httpx
import pytest

from plumewatch.config.load import load
from plumewatch.config.model import PlumewatchConfig
from plumewatch.config.secrets import read_secret
from plumewatch.config.settings import (
    build_alert_policy,
    read_broker_settings,
    read_influx_settings,
    read_ping_url,
)
from tests.support.service import ServiceProcess, run_command
from tests.support.waiting import eventually

pytestmark = pytest.mark.attack

NO_SECRETS = {"config_file", "data_dir", "ca_file"}
SECRETS = {
    "broker.password_file": "marked-password-of-the-broker",
    "metrics.token_file": "marked-token-of-the-metrics",
    "timeseries.token_file": "marked-token-of-the-influxdb",
    "watchdog.ping_url_file": "http://127.0.0.1:9/marked-ping-path",
    "staff.url_file": "json://marked-user:marked-pass@127.0.0.1:9/marked-push-path",
    "alerts.email_url_file": "json://marked-user:marked-pass@127.0.0.1:9/marked-mail/{to}",
    "alerts.phone_url_file": "json://marked-user:marked-pass@127.0.0.1:9/marked-phone/{to}",
    "reports.weekly_file": "json://marked-user:marked-pass@127.0.0.1:9/marked-weekly-path",
    "sign_in.client_secret_file": "marked-secret-of-the-sign-in-client",
    "ingest.token_file": "marked-token-of-the-source",
    "ingest.signature_file": "marked-signature-key-of-the-source",
    "ingest.password_file": "marked-password-of-a-polled-device",
}
MARKS = ("marked",)
MORE = """
[reports]
weekly_file = "reports.weekly_file"

[metrics]
token_file = "metrics.token_file"

[timeseries]
url = "http://127.0.0.1:9"
username = "plumewatch"
token_file = "timeseries.token_file"

[watchdog]
ping_url_file = "watchdog.ping_url_file"

[sign_in]
issuer = "http://127.0.0.1:9"
client_id = "plumewatch"
client_secret_file = "sign_in.client_secret_file"

[[staff]]
id = "local"
name = "Local administrator"
role = "admin"

[ingest.http]
port = 18421

[[ingest.source]]
name = "halo"
decoder = "halo"
token_file = "ingest.token_file"

[[ingest.source]]
name = "verkada"
decoder = "verkada"
signature_file = "ingest.signature_file"

[[ingest.poll]]
sensor = "polled"
url = "http://127.0.0.1:9/api"
every_s = 1
user = "api"
password_file = "ingest.password_file"

[[sensor]]
id = "polled"
room = "N2-boys"
decoder = "halo"
"""


@pytest.fixture
def service(tmp_path):
    for name, value in SECRETS.items():
        (tmp_path / name).write_text(value)
    login = 'username = "plumewatch"\npassword_file = "broker.password_file"'
    push = SECRETS["staff.url_file"]
    made = ServiceProcess(tmp_path, 9, push_url=push, broker=login)
    gateways = "".join(f'{k.partition(".")[2]} = "{k}"\n' for k in SECRETS if k[:6] == "alerts")
    text = made.config.read_text().replace("[alerts]\n", f"[alerts]\n{gateways}")
    made.config.write_text(text + MORE)
    yield made
    made.end(signal.SIGKILL)


def clean(text):
    assert not [mark for mark in MARKS if mark in text], text


def path_of(schema):
    return any(one.get("format") == "path" for one in (schema, *schema.get("anyOf", ())))


def secret_keys(schema):
    """Return the section and key of every secret file that a configuration can name."""

    found, waiting, seen = set(), [(schema, "")], set()
    while waiting:
        part, section = waiting.pop()
        name = part.get("$ref", "").rpartition("/")[2]
        if name:
            if (name, section) not in seen:
                seen.add((name, section))
                waiting.append((schema["$defs"][name], section))
            continue
        for key, value in part.get("properties", {}).items():
            if path_of(value) and key not in NO_SECRETS:
                found.add(f"{section}.{key}")
            waiting.append((value, section or key))
        waiting += [(inner, section) for inner in part.get("anyOf", ())]
        if isinstance(part.get("items"), dict):
            waiting.append((part["items"], section))
    return found


def test_every_secret_that_may_be_configured_is_here():
    assert secret_keys(PlumewatchConfig.model_json_schema()) == set(SECRETS)


def test_commands_print_none(service):
    for command in (
        ("check",),
        ("check", "--json"),
        ("status",),
        ("timeline",),
    ):
        done = run_command(*command, "--config", str(service.config))
        assert done.stdout + done.stderr
        clean(done.stdout + done.stderr)


def test_no_object_of_the_configuration_shows_one(service):
    config = load(service.config)
    built = [
        read_broker_settings(config),
        read_secret(config, "metrics.token"),
        read_ping_url(config),
    ]
    built += [build_alert_policy(config), read_influx_settings(config), config]
    for each in built:
        clean(f"{each!r} {each} {vars(each) if hasattr(each, '__dict__') else ''}")
    clean(config.model_dump_json())


def test_the_service_logs_and_shows_none(service):
    service.start(connected=False)
    address = f"http://127.0.0.1:{service.web_port}"
    headers = {"Authorization": f"Bearer {SECRETS['metrics.token_file']}"}

    def asked(path):
        try:
            return httpx.get(address + path, headers=headers, timeout=60).text
        except httpx.TransportError:
            return ""

    eventually(lambda: asked("/healthz"), lambda: service.log, 60)
    for word in ("broker 127.0.0.1:9", "series"):  # wait until each has reported an error
        eventually(lambda word=word: word in service.log, lambda: service.log, 60)
    with httpx.Client(base_url=address, headers=headers, timeout=60) as page:
        service.sign_in(page, "local")
        for path in ("/", "/readyz", "/metrics", "/sensors", "/duty", "/incidents"):
            shown = page.get(path)
            assert shown.status_code in {200, 503}, path
            clean(shown.text)
    service.end(signal.SIGTERM)
    clean(service.log)
    clean(Path(service.config).read_text())
