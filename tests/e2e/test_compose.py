"""`deploy/compose.yaml` without a container engine: its form, what it opens, and what it mounts.

Mosquitto starts by the script and the files that its container gets, in a root and a network of its
own. No image is pulled.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

from plumewatch.config.load import parse
from tests.support.needs import need
from tests.support.root import Root
from tests.support.waiting import eventually

DEPLOY = Path(__file__).parents[2] / "deploy"
COMPOSE = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
LAN = yaml.safe_load((DEPLOY / "compose.lan.yaml").read_text())
SERVICES = COMPOSE["services"]
LONG_LIVED = sorted(SERVICES.keys() - {"setup"})


def made_secrets(folder):
    """The secrets, made by the script in a copy of the folder."""
    shutil.copytree(DEPLOY / "compose", folder / "compose")
    subprocess.run(["sh", folder / "compose/secrets.sh"], check=True)
    return folder / "secrets"


def test_the_files_are_of_the_compose_specification():
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec"]
    files = [str(DEPLOY / name) for name in ("compose.yaml", "compose.lan.yaml")]
    done = subprocess.run([*command, *files], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_only_the_broker_over_tls_is_reachable_from_outside_and_only_if_configured():
    published = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert sorted(published) == [
        "127.0.0.1:1883:1883",
        "127.0.0.1:3000:3000",
        "127.0.0.1:8420:8420",
    ]
    assert {name: s.get("ports") for name, s in LAN["services"].items()} == {
        "mosquitto": ["8883:8883"]
    }
    assert all("network_mode" not in s and not s.get("privileged") for s in SERVICES.values())


@pytest.mark.parametrize("name", LONG_LIVED)
def test_every_service_is_watched_started_again_and_of_a_version(name):
    service = SERVICES[name]
    assert service["restart"] == "unless-stopped"
    if name == "plumewatch":
        assert "HEALTHCHECK" in (DEPLOY / "Dockerfile").read_text()
        assert (service["read_only"], service["cap_drop"]) == (True, ["ALL"])
    else:
        assert service["healthcheck"]["test"][0] == "CMD"
        assert re.search(r":\d+\.\d+\.\d+$", service["image"])
    for other, how in service.get("depends_on", {}).items():
        wanted = "service_completed_successfully" if other == "setup" else "service_healthy"
        assert how == {"condition": wanted}


def test_the_context_of_the_image_has_every_package_and_file_that_it_installs():
    ignored = (DEPLOY / "Dockerfile.dockerignore").read_text().split()
    kept = {pattern.removeprefix("!") for pattern in ignored if pattern.startswith("!")}
    project = tomllib.loads((DEPLOY.parent / "pyproject.toml").read_text())
    packages = project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]
    files = re.findall(r"/src/([\w.-]+)", (DEPLOY / "Dockerfile").read_text())
    files += [project["project"]["readme"], *project["project"]["license-files"]]
    assert {*packages, *files, "pyproject.toml"} <= kept


def test_every_file_that_is_mounted_is_there_and_every_volume_is_named():
    for service in SERVICES.values():
        for volume in service.get("volumes", ()):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), volume
                assert volume.endswith(":ro"), volume
            else:
                assert source in COMPOSE["volumes"], volume


def test_secrets_are_files_that_the_script_makes_once_and_nobody_else_may_enter(tmp_path):
    folder = made_secrets(tmp_path)
    assert folder.stat().st_mode & 0o777 == 0o700
    wanted = {Path(secret["file"]).name for secret in COMPOSE["secrets"].values()}
    made = {path.name: path.read_text() for path in folder.iterdir()}
    assert made.keys() == wanted
    strong = [text for name, text in made.items() if name != "broker-devices"]
    assert all(re.fullmatch(r"[0-9a-f]{48}", text) for text in strong)
    assert len(set(strong)) == len(strong)
    subprocess.run(["sh", tmp_path / "compose/secrets.sh"], check=True)
    assert {path.name: path.read_text() for path in folder.iterdir()} == made
    for service in SERVICES.values():
        assert set(service.get("secrets", ())) <= COMPOSE["secrets"].keys()
        for key, value in service.get("environment", {}).items():
            secret = re.search("PASSWORD|TOKEN|SECRET", key)
            assert not secret or value.startswith("/run/secrets/"), key


def test_the_configuration_of_the_service_fits_the_other_containers(tmp_path):
    tree = tomllib.loads((DEPLOY / "compose/plumewatch.toml").read_text())
    config = parse(tree, base=tmp_path)
    assert config.broker.host in SERVICES
    assert config.timeseries.url == "http://influxdb:8086"
    assert config.timeseries.org == SERVICES["influxdb"]["environment"]["DOCKER_INFLUXDB_INIT_ORG"]
    bucket = SERVICES["influxdb"]["environment"]["DOCKER_INFLUXDB_INIT_BUCKET"]
    assert config.timeseries.database == bucket
    assert f"{config.data_dir}" in SERVICES["plumewatch"]["volumes"][1]
    assert config.web.public_url  # nothing is shown without signing in
    assert config.broker.password_file.name in SERVICES["plumewatch"]["secrets"]
    assert "influx-account:/run/influx:ro" in SERVICES["plumewatch"]["volumes"]
    assert config.timeseries.token_file.parent == Path("/run/influx")
    holders = {n for n, s in SERVICES.items() if "influx-token" in s.get("secrets", ())}
    assert holders == {"influxdb", "setup"}  # the service never has the administrator's


def test_no_password_is_an_argument_of_a_program():
    for script in (DEPLOY / "compose").glob("*.sh"):
        assert not re.search(r" -[bP] .*\$\(cat|--password", script.read_text()), script


@pytest.fixture
def container(tmp_path):
    """A root like that of the Mosquitto container, with this machine's Mosquitto."""
    need("mosquitto", "mosquitto_sub")
    if os.geteuid() != 0:
        pytest.skip("needs root")
    try:
        root = Root(Path("/"))
    except (subprocess.CalledProcessError, OSError):
        pytest.skip("needs the right to mount")
    try:
        root.run("rm -rf /etc/mosquitto/* /var/lib/mosquitto/*; mkdir -p /etc/mosquitto")
        secrets = made_secrets(tmp_path)
        for name in SERVICES["mosquitto"]["secrets"]:
            root.copy(secrets / name, f"/run/secrets/{name}")
        for volume in SERVICES["mosquitto"]["volumes"]:
            source, target, *_ = volume.split(":")
            if source.startswith("."):
                root.copy(DEPLOY / source, target)
        yield root
    finally:
        root.close()


def test_mosquitto_accepts_the_files_of_its_container(container):
    password = container.run("cat /run/secrets/broker-password")
    devices = "/run/secrets/broker-devices"
    container.run(f"mosquitto_passwd -b {devices} n2-boys-1 of-the-sensor")
    container.run(
        "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2"
        " -subj /CN=localhost -addext subjectAltName=DNS:localhost"
        " -out /run/secrets/broker-certificate -keyout /run/secrets/broker-key"
    )
    network = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    command = SERVICES["mosquitto"]["command"]
    with subprocess.Popen(
        [*network, "chroot", str(container.path), *command], stderr=subprocess.PIPE, text=True
    ) as broker:
        within = ["nsenter", f"--net=/proc/{broker.pid}/ns/net", "chroot", str(container.path)]

        def ran(*arguments):
            done = subprocess.run(
                [*within, *arguments], capture_output=True, text=True, check=False, timeout=30
            )
            return done.returncode, done.stdout + done.stderr

        try:
            health = SERVICES["mosquitto"]["healthcheck"]["test"][1:]
            eventually(
                lambda: broker.poll() is not None or ran(*health)[0] == 0, lambda: ran(*health), 30
            )
            assert broker.poll() is None, broker.stderr.read()
            topic = "plumewatch/v1/n2-boys-1/reading"
            sensor = ("-u", "n2-boys-1", "-P", "of-the-sensor")
            over_tls = (
                "-h",
                "localhost",
                "-p",
                "8883",
                "--cafile",
                "/run/secrets/broker-certificate",
            )
            subscribe = (
                "mosquitto_sub",
                "-u",
                "plumewatch",
                "-P",
                password,
                "-t",
                topic,
                "-C",
                "1",
            )
            sent = ("mosquitto_pub", *over_tls, *sensor, "-q", "1", "-r", "-t", topic, "-m", "air")
            assert ran(*sent) == (0, "")
            assert ran(*subscribe, "-W", "10") == (0, "air\n")
            assert ran("mosquitto_pub", "-t", topic, "-m", "x")[0] != 0  # nobody without a name
            who = ran("stat", "-c", "%U %a", "/etc/mosquitto/plumewatch-passwords")
            assert who == (0, "mosquitto 600\n")
            everywhere = ran("sh", "-c", "grep -c '^listener 1883$' /etc/mosquitto/mosquitto.conf")
            assert everywhere == (0, "1\n")
        finally:
            broker.terminate()
            _, output = broker.communicate(timeout=60)
    assert broker.returncode == 0, output
    assert "Error" not in output


def test_the_setup_makes_the_reader_once_and_the_dashboards_each_time(tmp_path):
    """The store's part of it is tested in `tests/contract/test_series_setup.py`."""
    program = tmp_path / "plumewatch"
    program.write_text(
        f"""#!/bin/sh
echo "$@" >> {tmp_path}/calls
case "$1 $2" in
    "storage setup")
        shift 6
        while [ $# -gt 0 ]; do echo secret > "$2"; shift 2; done ;;
    *) exec {sys.executable} -m plumewatch "$@" ;;
esac
"""
    )
    program.chmod(0o755)
    files = tmp_path / "grafana"
    files.mkdir()
    config = DEPLOY / "compose/plumewatch.toml"
    environment = os.environ | {
        "PLUMEWATCH": str(program),
        "PLUMEWATCH_CONFIG": str(config),
        "GRAFANA_FILES": str(files),
        "INFLUX_ACCOUNT": str(files),
    }
    for _ in range(2):
        command = ["sh", DEPLOY / "compose/setup.sh"]
        subprocess.run(command, env=environment, cwd=DEPLOY.parent, check=True)
    build = f"dashboards build --config {config} --out {files}/dashboards"
    calls = (tmp_path / "calls").read_text().splitlines()
    accounts = f"--reader-file {files}/influx-reader --service-file {files}/token"
    set_up = f"storage setup --config {config} --admin-token-file /run/secrets/influx-token"
    assert calls == [f"{set_up} {accounts}", build, set_up, build]
    assert (files / "token").stat().st_mode & 0o777 == 0o444
    assert (files / "influx-reader").stat().st_mode & 0o777 == 0o640
    shipped = {path.name for path in Path("dashboards/json").glob("*.json")}
    assert {path.name for path in (files / "dashboards").glob("*.json")} == shipped


def test_images_are_pinned_by_the_digests_of_what_was_pulled(tmp_path):
    shutil.copytree(DEPLOY, tmp_path / "deploy")
    docker = tmp_path / "docker"
    docker.write_text(
        """#!/bin/sh
if [ "$1" = pull ]; then exit; fi
name=${5%:*}
printf '%s@sha256:%s\\n' "$name" "$(printf %s "$5" | sha256sum | cut -d' ' -f1)"
"""
    )
    docker.chmod(0o755)
    pin = ["sh", tmp_path / "deploy/compose/pin.sh"]
    for _ in range(2):  # the second time nothing is left to do
        subprocess.run(pin, env=os.environ | {"DOCKER": str(docker)}, check=True)
        pinned = yaml.safe_load((tmp_path / "deploy/compose.yaml").read_text())["services"]
        for name, service in pinned.items():
            tag = SERVICES[name]["image"]
            if ":" in tag:
                assert re.fullmatch(re.escape(tag) + "@sha256:[0-9a-f]{64}", service["image"])
            else:
                assert service["image"] == tag  # built here
        lines = (tmp_path / "deploy/Dockerfile").read_text().splitlines()
        begins = [line for line in lines if line.startswith("FROM ")]
        assert len(begins) == 2
        assert all("debian:trixie-slim@sha256:" in line for line in begins)
        assert begins[0].endswith(" AS build")
