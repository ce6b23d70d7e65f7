"""Try every way to install on a clean Debian: ``make try-install``.

Makes a minimal Debian with debootstrap once, and tries each way on a fresh layer over it: a wheel,
uv, `deploy/install.sh`, and the steps of `deploy/Dockerfile`, run as a script, of which it carries
out the instructions that it knows. Needs Linux, root, debootstrap, a mirror and a package index.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

HERE: Final = Path(__file__).resolve().parent
PROJECT: Final = HERE.parent
_CERTIFICATES: Final = Path("/etc/ssl/certs/ca-certificates.crt")
_OURS: Final = "/etc/ssl/of-this-machine.crt"
"""Where they are inside: packages make the usual file anew."""
DEMO: Final = "--plain --seconds 30 --port 18420"
PYTHON_AND_VENV: Final = "apt-get update -qq && apt-get install -y -qq python3-venv"


class TriedError(Exception):
    """A step failed; the message says which."""


class Root:
    """A folder with a system in it: a layer of its own over `below`, gone when it is closed."""

    def __init__(self, below: Path) -> None:
        self._home = Path(tempfile.mkdtemp(prefix="plumewatch-try-"))
        self.path = self._home / "root"
        self.env: dict[str, str] = {}
        self.user, self.folder = "root", "/"
        self._mounts = ExitStack()
        try:
            upper, work = self._home / "layer/upper", self._home / "layer/work"
            (self._home / "layer").mkdir()
            self.path.mkdir()
            # A file system of its own: a layer cannot lie upon another layer's folder.
            self._mount("-t", "tmpfs", "tmpfs", str(self._home / "layer"))
            upper.mkdir()
            upper.chmod(0o755)  # it is the root of the system: every user enters it
            work.mkdir()
            layers = f"lowerdir={below},upperdir={upper},workdir={work}"
            self._mount("-t", "overlay", "overlay", "-o", layers, str(self.path))
            self._mount("-t", "proc", "proc", str(self.path / "proc"))
            self._mount("--rbind", "/dev", str(self.path / "dev"))
            self._mount("--make-rslave", str(self.path / "dev"), undo=False)
        except BaseException:
            self.close()
            raise

    def _mount(self, *arguments: str, undo: bool = True) -> None:
        subprocess.run(["mount", *arguments], check=True)
        if undo:
            undoing = ["umount", "--recursive", "--lazy", arguments[-1]]
            self._mounts.callback(subprocess.run, undoing, check=False)

    def close(self) -> None:
        """Forget everything that was done in it."""
        self._mounts.close()
        shutil.rmtree(self._home, ignore_errors=True)

    def run(self, command: str | list[str], *, may_fail: bool = False) -> str:
        """Run a command in it and return what it printed; raise TriedError if it fails."""
        argv = ["/bin/sh", "-c", command] if isinstance(command, str) else command
        # A network namespace of its own is not made: packages come from outside.
        inside = ["env", "--chdir", self.folder, *argv]
        print(f"  $ {shlex.join(argv) if not isinstance(command, str) else command}", flush=True)
        done = subprocess.run(
            ["chroot", f"--userspec={self.user}", str(self.path), *inside],
            env=_environment(self.env),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode and not may_fail:
            raise TriedError(f"{command} ended with {done.returncode}:\n{done.stdout}")
        return done.stdout

    def copy(self, source: Path, target: str) -> None:
        """Copy a file or what is in a folder."""
        to = self.path / target.lstrip("/")
        if source.is_dir():
            shutil.copytree(source, to, symlinks=True, dirs_exist_ok=True)
        else:
            to.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source, to)


def _environment(more: Mapping[str, str]) -> dict[str, str]:
    """Return what a package client needs to reach its index, and nothing else of this one."""
    kept = {
        key: value
        for key, value in os.environ.items()
        if key.lower().endswith("_proxy")
        or key in {"PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_DEFAULT_TIMEOUT"}
    }
    kept |= {"PIP_CERT": _OURS, "SSL_CERT_FILE": _OURS}
    path = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    fixed = {
        "PATH": path,
        "HOME": "/root",
        "DEBIAN_FRONTEND": "noninteractive",
        "LC_ALL": "C.UTF-8",
    }
    return kept | fixed | dict(more)


def clean_debian(folder: Path) -> Path:
    """Return a minimal Debian, made in `folder` if it is not there, with this machine's mirror."""
    root = folder / "debian"
    if not (root / "etc/debian_version").exists():
        said = Path("/etc/apt/sources.list.d/debian.sources").read_text(encoding="utf-8")
        mirror = re.search(r"^URIs:\s*(\S+)", said, re.MULTILINE)
        suite = re.search(r"^Suites:\s*(\S+)", said, re.MULTILINE)
        if mirror is None or suite is None:
            raise TriedError("/etc/apt/sources.list.d/debian.sources names no mirror")
        folder.mkdir(parents=True, exist_ok=True)
        making = folder / "making"
        shutil.rmtree(making, ignore_errors=True)
        command = ["debootstrap", "--variant=minbase", suite[1], str(making), mirror[1]]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        making.rename(root)
    for name in ("resolv.conf", "hosts"):
        if Path("/etc", name).exists():
            shutil.copy(Path("/etc", name), root / "etc" / name)
    (root / "etc/apt/sources.list").unlink(missing_ok=True)
    shutil.copy("/etc/apt/sources.list.d/debian.sources", root / "etc/apt/sources.list.d")
    shutil.copytree("/etc/apt/apt.conf.d", root / "etc/apt/apt.conf.d", dirs_exist_ok=True)
    for hook in (root / "etc/apt/apt.conf.d").glob("docker-*"):
        hook.unlink()
    (root / "etc/ssl").mkdir(exist_ok=True)
    if _CERTIFICATES.exists():
        shutil.copy(_CERTIFICATES, root / _OURS.lstrip("/"))
    return root


@dataclass
class Instruction:
    """One instruction of a Dockerfile."""

    name: str
    value: str

    def words(self) -> list[str]:
        """Return the words of its value, whichever form they have."""
        if self.value.startswith("["):
            return [str(word) for word in json.loads(self.value)]
        return shlex.split(self.value)


def instructions(dockerfile: str) -> Iterator[Instruction]:
    """Read a Dockerfile.

    >>> [step.name for step in instructions("FROM a AS b")]
    ['FROM']
    """
    joined = re.sub(r"\\\n\s*", " ", dockerfile)
    for line in joined.splitlines():
        if line.strip() and not line.startswith("#"):
            name, _, value = line.strip().partition(" ")
            yield Instruction(name.upper(), value.strip())


@dataclass
class Image:
    """What remains when a Dockerfile was carried out."""

    root: Root
    entrypoint: list[str] = field(default_factory=list)
    command: list[str] = field(default_factory=list)
    health: list[str] = field(default_factory=list)


def carry_out(  # noqa: C901, PLR0912 - one branch an instruction
    dockerfile: Path, base: Path, made: Callable[[Root], Root]
) -> Image:
    """Carry out a Dockerfile; `made` is handed every root, to close it at the end."""
    stages: dict[str, Image] = {}
    image: Image | None = None
    for step in instructions(dockerfile.read_text(encoding="utf-8")):
        words = step.words() if step.name not in {"RUN", "HEALTHCHECK"} else []
        if step.name == "FROM":
            if words[0] != "debian:trixie-slim":
                raise TriedError(f"only a Debian can be made here, not {words[0]}")
            image = Image(made(Root(base)))
            stages[words[2] if len(words) > 2 else ""] = image
            continue
        if image is None:
            raise TriedError(f"{step.name} before FROM")
        root = image.root
        match step.name:
            case "RUN":
                root.run(step.value)
            case "COPY" if words[0].startswith("--from="):
                source = stages[words[0].partition("=")[2]].root.path / words[1].lstrip("/")
                root.copy(source, words[2])
            case "COPY":
                _context(root, words[0], words[1], dockerfile)
            case "ENV":
                root.env |= dict(word.split("=", 1) for word in words)
            case "USER":
                root.user = f"{words[0]}:{words[0]}"
            case "WORKDIR":
                root.folder = words[0]
            case "ENTRYPOINT":
                image.entrypoint = words
            case "CMD":
                image.command = words
            case "HEALTHCHECK":
                image.health = [str(w) for w in json.loads(step.value.partition(" CMD ")[2])]
            case "VOLUME" | "EXPOSE":
                pass
            case other:
                raise TriedError(f"{other} is not known here")
    if image is None:
        raise TriedError("there is no FROM")
    return image


def _context(root: Root, source: str, target: str, dockerfile: Path) -> None:
    if source != ".":
        raise TriedError(f"COPY of {source} is not known here")
    ignored = dockerfile.with_name(dockerfile.name + ".dockerignore").read_text("utf-8").split()
    patterns = [pattern for pattern in ignored if not pattern.startswith("!")]
    kept = {pattern[1:] for pattern in ignored if pattern.startswith("!")}
    if patterns[0] != "*":
        raise TriedError("the file of exclusions must begin with *")
    for name in sorted(kept):
        top = PROJECT / name
        for path in [top] if top.is_file() else sorted(p for p in top.rglob("*") if p.is_file()):
            inner = path.relative_to(PROJECT)
            if not any(fnmatch.fnmatch(p.name, "__pycache__") for p in inner.parents):
                root.copy(path, f"{target}/{inner}")


def wheel_of(folder: Path) -> Path:
    """Build the wheel as ``pip wheel`` does."""
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir"]
    subprocess.run([*command, str(folder), str(PROJECT)], check=True)
    return next(folder.glob("plumewatch-*.whl"))


def expect(text: str, *words: str) -> None:
    """Refuse an output that lacks one of these words."""
    missing = [word for word in words if word not in text]
    if missing:
        raise TriedError(f"not said: {missing} in\n{text}")


def try_wheel(root: Root, wheel: Path) -> None:
    """Install the wheel into an empty environment; run the demo of it."""
    root.run(PYTHON_AND_VENV)
    root.copy(wheel, f"/tmp/{wheel.name}")  # noqa: S108 - within the root of its own
    root.run(f"python3 -m venv /venv && /venv/bin/pip install -q '/tmp/{wheel.name}[demo]'")
    expect(root.run("/venv/bin/plumewatch --version"), "plumewatch ", "detector model")
    root.folder = "/root"
    expect(root.run(f"/venv/bin/plumewatch demo {DEMO}"), "ALERT", "demo ended")


def try_uvx(root: Root, wheel: Path) -> None:
    """Run the demo by one command of uv, without installing anything first."""
    root.run(PYTHON_AND_VENV)
    root.copy(wheel, f"/tmp/{wheel.name}")  # noqa: S108 - as above
    root.run("python3 -m venv /uv && /uv/bin/pip install -q uv")
    if "PIP_INDEX_URL" in os.environ:
        root.env["UV_DEFAULT_INDEX"] = os.environ["PIP_INDEX_URL"]
    root.folder = "/root"
    said = root.run(f"/uv/bin/uvx --from '/tmp/{wheel.name}[demo]' plumewatch demo {DEMO}")
    expect(said, "ALERT", "demo ended")


def try_script(root: Root, wheel: Path) -> None:
    """Install by the script, twice; use it; take it away, with the data kept and without."""
    for name in ("install.sh", "plumewatch.service"):
        root.copy(HERE / name, f"/root/deploy/{name}")
    root.copy(PROJECT / "requirements-run.lock", "/root/requirements-run.lock")
    root.copy(wheel, f"/root/{wheel.name}")
    install = f"sh /root/deploy/install.sh --no-start --wheel /root/{wheel.name}"
    expect(root.run(install, may_fail=True), "install.sh: python3 is not there")
    root.run(PYTHON_AND_VENV)
    expect(root.run("sh /root/deploy/install.sh", may_fail=True), "systemd does not run here")
    expect(root.run(install), "installed plumewatch", "name rooms")
    expect(root.run(install), "is installed already")
    expect(root.run("plumewatch --version"), "plumewatch ")
    expect(root.run("plumewatch check", may_fail=True), "configuration", "broker")
    root.run('test -z "$(find /var/lib/plumewatch -not -user plumewatch)"')
    expect(root.run("sh /root/deploy/install.sh --no-start --uninstall"), "stay")
    root.run("test -e /etc/plumewatch/plumewatch.toml && test ! -e /opt/plumewatch")
    expect(root.run("sh /root/deploy/install.sh --no-start --uninstall --purge"), "everything")
    root.run(
        "test ! -e /etc/plumewatch && test ! -e /var/lib/plumewatch && ! id plumewatch 2>/dev/null"
    )


def try_image(image: Image) -> None:
    """Start what an image would start, with a configuration, and ask its health check."""
    root = image.root
    expect(root.run([*image.entrypoint, "--version"]), "plumewatch ")
    root.run([*image.entrypoint, "init", "/var/lib/plumewatch/plumewatch.toml"])
    root.env["PLUMEWATCH_CONFIG"] = "/var/lib/plumewatch/plumewatch.toml"
    expect(root.run([*image.entrypoint, "check"], may_fail=True), "configuration")
    if image.command != ["run"] or not image.health:
        raise TriedError(f"it would run {image.command}, and ask {image.health}")
    # In a network of its own, where its port is free.
    inside = ["chroot", f"--userspec={root.user}", str(root.path), "env", "--chdir", root.folder]
    network = ["unshare", "--net", "sh", "-c", 'ip link set lo up && exec "$@"', "sh"]
    with subprocess.Popen(
        [*network, *inside, *image.entrypoint, *image.command], env=_environment(root.env)
    ) as service:
        try:
            asks = ["nsenter", f"--net=/proc/{service.pid}/ns/net", *inside, *image.health]
            for _ in range(60):
                time.sleep(1)
                if service.poll() is not None:
                    raise TriedError(f"the service ended with {service.returncode}")
                asked = subprocess.run(
                    asks, env=_environment(root.env), capture_output=True, check=False
                )
                if asked.returncode == 0:
                    return
            raise TriedError(f"the health check never passed: {asked.stderr.decode()}")
        finally:
            service.terminate()


def main() -> int:
    """Try all of it; 0 if it works, 1 with what did not."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path("/var/tmp/plumewatch-try"))  # noqa: S108
    parser.add_argument("--only", choices=("wheel", "uvx", "script", "image"))
    options = parser.parse_args()
    if os.geteuid() != 0 or shutil.which("debootstrap") is None:
        sys.stderr.write("needs root and debootstrap\n")
        return 2
    with ExitStack() as stack:

        def made(root: Root) -> Root:
            stack.callback(root.close)
            return root

        try:
            base = clean_debian(options.folder)
            home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
            wheel = wheel_of(home)
            for way in (options.only,) if options.only else ("wheel", "uvx", "script", "image"):
                print(f"{way}:", flush=True)
                match way:
                    case "wheel":
                        try_wheel(made(Root(base)), wheel)
                    case "uvx":
                        try_uvx(made(Root(base)), wheel)
                    case "script":
                        try_script(made(Root(base)), wheel)
                    case "image":
                        try_image(carry_out(HERE / "Dockerfile", base, made))
                print(f"{way}: works", flush=True)
        except TriedError as error:
            sys.stderr.write(f"{error}\n")
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
