"""`plumewatch device new`: a reference device's configuration, account and secrets."""

from __future__ import annotations

import html
import json
import re
import shutil
import socket
import tomllib
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from plumewatch.cli.options import CONFIG, ConfigOption, JsonOption, Site, examples
from plumewatch.cli.printer import Printer
from plumewatch.config.faults import some
from plumewatch.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


app = typer.Typer()
device_app = typer.Typer(
    help="Reference devices that a school builds (docs/hardware.md).", no_args_is_help=True
)
app.add_typer(device_app, name="device", rich_help_panel="Sensors")

HARDWARE: Final = Path(__file__).resolve().parents[2] / "hardware"
_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,29}[a-z0-9])?")
_HOST: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_SHARED: Final = ("wifi_ssid", "wifi_password")
_OWN: Final = ("mqtt_password", "ota_password", "fallback_password")
_UNSET: Final = "FILL IN"
_PASSWORDS: Final = "broker/plumewatch-passwords"
_LOOPBACK: Final = ("127.", "localhost", "::1")
_INTERVAL_S: Final = 2.0
_MAGIC: Final = b"\xe9"
"""First byte of a part of an image."""
_BOOTLOADER: Final = 0x1000
"""Where the bootloader of an ESP32 is; a complete image begins with padding."""


def models() -> list[str]:
    """Return the names of the reference devices."""
    return sorted(path.stem for path in HARDWARE.glob("*.yaml") if "." not in path.stem)


@device_app.command(
    epilog=examples(
        "plumewatch device new --model sen55 --room N2-boys",
        "plumewatch device new --model sen55-poe --room N2-boys --id n2-boys-2 --broker 192.0.2.10",
    )
)
def new(
    *,
    model: Annotated[str, typer.Option(help="sen55, sen55-poe or pms5003-sgp41.")],
    room: Annotated[str, typer.Option(help="Id of a `room` block.")],
    config: ConfigOption = CONFIG,
    sensor: Annotated[
        str, typer.Option("--id", help="Id of the sensor; the room's id and a number if empty.")
    ] = "",
    broker: Annotated[
        str, typer.Option(help="HOST or HOST:PORT at which devices reach the broker.")
    ] = "",
    folder: Annotated[
        Path | None,
        typer.Option(help="Where files for ESPHome go; `devices` beside the configuration."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the ESPHome file of a new sensor, with its account, passwords and entry."""
    site = Site.load(config)
    printer = Printer(as_json=as_json)
    if model not in models():
        raise UsageError(f"--model: {model!r}: one of {', '.join(models())}")
    rooms = site.config.registry().rooms
    if room not in rooms:
        raise UsageError(f"--room: {room!r}: one of {some(rooms)}")
    base = site.path.resolve().parent
    taken = {one.id.lower() for one in site.config.sensor} | _accounts(base, site)
    name = sensor or _free_name(room, taken)
    if not _NAME.fullmatch(name) or name in taken:
        raise UsageError(
            f"--id: {name!r}: a name that no sensor, account or format has, of at most 31"
            " lower-case letters, digits and hyphens"
        )
    host, port = _address(broker, site)
    target = (folder or base / "devices").resolve()
    if (target / f"{name}.yaml").exists():
        raise UsageError(f"{target / name}.yaml: exists already; choose another --id")
    entry = f'\n[[sensor]]\nid = "{name}"\nroom = {json.dumps(room)}\nmodel = "{model}"\n'
    registered = _registered(site.path, f"{entry}interval_s = {_INTERVAL_S:g}\n")
    values = {"name": name, "account": name, "broker": host, "broker_port": json.dumps(str(port))}
    values["time_zone"] = site.config.timezone
    wrote = [
        *_write_device(target, name, model, values),
        *_write_account(base, name, _write_secrets(target, name)),
    ]
    registered()
    wrote.append(site.path.resolve())
    for path in wrote:
        if not printer.as_json:
            printer.say(f"wrote {path}")
    printer.say(
        _next_steps(base, target, name, host, port, unset=_has_unset(target, model)),
        sensor=name,
        room=room,
        model=model,
        broker=f"{host}:{port}",
        wrote=wrote,
    )


@device_app.command(
    "flash-page",
    epilog=examples("plumewatch device flash-page build/firmware.factory.bin --out flash"),
)
def flash_page(
    firmware: Annotated[
        Path, typer.Argument(help="firmware.factory.bin of `esphome compile`, for an ESP32.")
    ],
    *,
    out: Annotated[Path, typer.Option(help="New folder for the page.")] = Path("flash"),
    as_json: JsonOption = False,
) -> None:
    """Write a page that flashes a compiled firmware from the browser, with ESP Web Tools."""
    printer = Printer(as_json=as_json)
    image = firmware.read_bytes()
    if image[_BOOTLOADER : _BOOTLOADER + 1] != _MAGIC or image[:1] == _MAGIC:
        raise UsageError(
            f"{firmware}: no complete image of an ESP32; take firmware.factory.bin of"
            " `esphome compile`, not the file for updates"
        )
    name = firmware.parent.name if firmware.stem.startswith("firmware") else firmware.stem
    manifest = {
        "name": name,
        "version": "1",
        "new_install_prompt_erase": True,
        "builds": [{"chipFamily": "ESP32", "parts": [{"path": "firmware.bin", "offset": 0}]}],
    }
    try:
        out.mkdir(mode=0o700, parents=True)
    except FileExistsError as error:
        raise UsageError(f"{out}: exists already; choose another --out") from error
    (out / "firmware.bin").write_bytes(image)
    (out / "manifest.json").write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    title = html.escape(name)
    page = f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>Flash {title}</title>
<script type="module" src="https://unpkg.com/esp-web-tools@10/dist/web/install-button.js?module">
</script>
<h1>{title}</h1>
<p>Chrome or Edge: connect the board by USB, press the button, choose its port.</p>
<esp-web-install-button manifest="manifest.json"></esp-web-install-button>
</html>
"""
    (out / "index.html").write_text(page, encoding="utf-8")
    printer.say(
        f"wrote {out}: the firmware contains the device's passwords, so serve it on this machine"
        f" only\n  python3 -m http.server --bind 127.0.0.1 --directory {out} 8000\n"
        "and open http://127.0.0.1:8000 in Chrome or Edge with the board at USB",
        wrote=out,
        name=name,
    )


def _accounts(base: Path, site: Site) -> set[str]:
    """Return the names of accounts at the broker, and those that begin the topics of a format."""
    from ingest.decoders import subscriptions
    from plumewatch.cli.setup.broker_files import SERVICE

    path = base / _PASSWORDS
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    known = {line.partition(":")[0].lower() for line in lines}
    formats = {topic.partition("/")[0].lower() for topic in subscriptions()}
    return known | formats | {SERVICE, site.config.broker.username.lower()}


def _free_name(room: str, taken: Iterable[str]) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", room.lower()).strip("-")[:27]
    return next(name for n in count(1) if (name := f"{stem}-{n}") not in taken)


def _address(given: str, site: Site) -> tuple[str, int]:
    """Return host and port of the broker as devices reach it; loopback is no address for them."""
    host, _, port = given.partition(":")
    is_port = not port or (port.isdecimal() and 0 < int(port[:6]) < 65_536)
    if given and not (_HOST.fullmatch(host) and is_port):
        raise UsageError(f"--broker: {given!r}: HOST or HOST:PORT, a name or IPv4 address")
    host = host or site.config.broker.host
    if host.startswith(_LOOPBACK):
        try:
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
                probe.connect(("192.0.2.1", 9))  # nothing is sent
                host = str(probe.getsockname()[0])
        except OSError:
            host = ""
        if not host or host.startswith(_LOOPBACK):
            raise UsageError("--broker: at which address do devices reach the broker?")
    return host, int(port or site.config.broker.port)


def _registered(config: Path, entry: str) -> Callable[[], None]:
    """Check the configuration with an entry; return what writes it. Raises `ConfigError`."""
    from plumewatch.config.load import parse
    from storage.files import FILE_MODE, atomic_write

    text = config.read_text(encoding="utf-8").rstrip("\n") + "\n" + entry
    try:
        parse(tomllib.loads(text), base=config.resolve().parent)
    except tomllib.TOMLDecodeError as error:
        raise UsageError(f"{config}: sensors must be [[sensor]] blocks: {error}") from error

    def write() -> None:
        with atomic_write(config.resolve()) as draft:
            draft.touch(FILE_MODE)
            draft.write_text(text, encoding="utf-8")
            shutil.copymode(config, draft)

    return write


def _write_device(target: Path, name: str, model: str, values: dict[str, str]) -> list[Path]:
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    common = target / "common"
    common.mkdir(exist_ok=True)
    for path in sorted((HARDWARE / "common").glob("*.yaml")):
        if not (common / path.name).exists():
            shutil.copyfile(path, common / path.name)
    text = (HARDWARE / f"{model}.yaml").read_text(encoding="utf-8")
    for key, value in values.items():
        line = f"  {key}: {value}".replace("\\", r"\\")
        text = re.sub(rf"(?m)^  {key}: .*$", line, text)
    for key in _OWN:
        text = text.replace(f"!secret {key}", f"!secret {name}_{key}")
    path = target / f"{name}.yaml"
    path.write_text(text, encoding="utf-8")
    return [path]


def _write_secrets(target: Path, name: str) -> tuple[Path, str]:
    from plumewatch.cli.setup.broker_files import new_password

    path = target / "secrets.yaml"
    text = path.read_text(encoding="utf-8") if path.exists() else ""
    known = {line.partition(":")[0] for line in text.splitlines()}
    own = {f"{name}_{key}": new_password() for key in _OWN}
    lines = [f"{key}: {json.dumps(_UNSET)}" for key in _SHARED if key not in known]
    lines += [f"{key}: {json.dumps(value)}" for key, value in own.items()]
    _add_private(path, lines)
    return path, own[f"{name}_mqtt_password"]


def _write_account(base: Path, name: str, secret: tuple[Path, str]) -> list[Path]:
    from plumewatch.cli.setup.broker_files import device_rights, hashed

    path, password = secret
    accounts = base / _PASSWORDS
    rights = base / "broker/plumewatch-acl"
    listed = base / "secrets/device-passwords.csv"
    filters = [f"{name}/#", f"homeassistant/+/{name}/+/config"]
    _add_private(accounts, [f"{name}:{hashed(password)}"])
    _add_private(rights, ["", *device_rights(name, filters)])
    heading = [] if listed.exists() else ["sensor,account,password"]
    _add_private(listed, [*heading, f"{name},{name},{password}"])
    return [path, accounts, rights, listed]


def _add_private(path: Path, lines: Iterable[str]) -> None:
    from storage.files import write_private

    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    old = path.read_text(encoding="utf-8") if path.exists() else ""
    write_private(path, (old + "\n".join(lines) + "\n").encode())


def _has_unset(target: Path, model: str) -> bool:
    wants = "wifi_ssid" in (HARDWARE / f"{model}.yaml").read_text(encoding="utf-8")
    return wants and _UNSET in (target / "secrets.yaml").read_text(encoding="utf-8")


def _next_steps(base: Path, target: Path, name: str, host: str, port: int, *, unset: bool) -> str:
    first = f"fill in wifi_ssid and wifi_password in {target}/secrets.yaml; " if unset else ""
    return f"""next: {first}on the machine of the broker
  install -o mosquitto -m 600 {base}/broker/plumewatch-* /etc/mosquitto/
  systemctl reload mosquitto
then, with ESPHome (pip install esphome) and the board at USB
  esphome run {target}/{name}.yaml
It publishes to {host}:{port} as {name}. Restart the service, or send it SIGHUP; then
  plumewatch status"""
