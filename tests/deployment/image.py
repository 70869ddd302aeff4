"""An image without a Docker engine: a Dockerfile's steps, made one by one on a copy-on-write view of this machine.

What the base image would bring is this machine's own Python; the repository is hidden, so that only what is copied is
there. A container is then a process with its own process numbers, as the image's user, on a file system that cannot be
written to but for the volumes and /tmp. Linux alone, as root.
"""

import contextlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

PATH = "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
HEALTHY_SECONDS = 60
SETUP = """
set -eu
mount -t tmpfs tmpfs "$1"
echo ready
exec sleep infinity
"""
STAGE = """
set -eu
cd "$1"; mkdir -p "$2/up" "$2/work" "$2/root"
mount -t overlay overlay -o "lowerdir=/,upperdir=$2/up,workdir=$2/work" "$2/root"
mount --rbind /dev "$2/root/dev"
mount -t proc proc "$2/root/proc"
mount -t tmpfs -o mode=1777 tmpfs "$2/root/tmp"
mkdir -p "$2/root$3"; mount -t tmpfs tmpfs "$2/root$3"
for seen in $4; do chmod a+x "$2/root$seen"; done
"""
# With a mount namespace of its own again, so that a container's proc and its read-only root are its own alone.
CONTAINER = """
set -eu
root=$1 data=$2 user=$3; shift 3
mount --bind "$data" "$root/data"
mount -t proc proc "$root/proc"
mount -o remount,ro "$root"
exec chroot --userspec="$user" --groups= "$root" "$@"
"""


@dataclass
class Image:
    """What the Dockerfile says of the containers made from it, and where its file system is."""

    holder: int
    root: Path
    env: dict[str, str] = field(default_factory=dict)
    workdir: str = "/"
    user: str = "0:0"
    entrypoint: list[str] = field(default_factory=list)
    cmd: list[str] = field(default_factory=list)
    healthcheck: list[str] = field(default_factory=list)
    stop_signal: str = "SIGTERM"

    def container(self, data: Path, *words: str, **environ: str) -> subprocess.Popen[str]:
        """Start a container; `words` take the place of the image's CMD."""
        own = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", CONTAINER, "sh")
        command = _inside(self.holder, *own, str(self.root), str(data), self.user)
        command += [*self._environment(environ), *self.entrypoint, *(words or self.cmd)]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)

    def ask_health(self, **environ: str) -> subprocess.CompletedProcess[str]:
        """What the engine does at each interval of HEALTHCHECK."""
        command = ["chroot", f"--userspec={self.user}", "--groups=", str(self.root), *self._environment(environ)]
        return subprocess.run([*_inside(self.holder), *command, *self.healthcheck], capture_output=True, text=True)

    def _environment(self, environ: dict[str, str]) -> list[str]:
        pairs = [f"{name}={value}" for name, value in {**self.env, **environ}.items()]
        return ["env", "--ignore-environment", f"--chdir={self.workdir}", *pairs]


@contextlib.contextmanager
def stopped(container: subprocess.Popen[str], image: Image) -> Iterator[list[Any]]:
    """A container that is stopped at the end, as `docker stop` does it; then the list holds exit code and output."""
    ended: list[Any] = []
    try:
        yield ended
    finally:
        if container.poll() is None:
            (first,) = psutil.Process(container.pid).children()
            first.send_signal(getattr(signal, image.stop_signal))
        output, _ = container.communicate(timeout=HEALTHY_SECONDS)
        ended += [container.returncode, output]


def is_possible() -> bool:
    """Whether this machine lets us build: root on a Linux that may mount overlays."""
    if sys.platform != "linux" or os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "chroot"))):
        return False
    overlay = "mount -t tmpfs tmpfs /mnt && cd /mnt && mkdir u w r && "
    overlay += "mount -t overlay overlay -o lowerdir=/,upperdir=u,workdir=w r"
    return not subprocess.run(["unshare", "--mount", "sh", "-c", overlay], capture_output=True).returncode


@contextlib.contextmanager
def built(dockerfile: Path, context: Path, folder: Path, uv: Path) -> Iterator[Image]:
    """The image of a Dockerfile, for as long as the context lasts."""
    holder = subprocess.Popen(
        ["unshare", "--mount", "sh", "-c", SETUP, "sh", str(folder)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "ready\n"
        yield _build(_instructions(dockerfile.read_text()), context, folder, uv, holder.pid)
    finally:
        holder.kill()
        holder.communicate()


def _build(instructions: list[tuple[str, str]], context: Path, folder: Path, uv: Path, holder: int) -> Image:
    stages: dict[str, Image] = {}
    arguments: dict[str, str] = {}
    image = Image(holder, folder)
    for word, rest in instructions:
        rest = rest if word in ("RUN", "HEALTHCHECK") else _filled(rest, {**arguments, **image.env})
        match word:
            case "ARG":
                name, _, value = rest.partition("=")
                arguments[name] = value
            case "FROM":
                name = rest.partition(" AS ")[2] or str(len(stages))
                image = stages[name] = _stage(holder, folder, name, context)
            case "ENV":
                image.env |= dict(pair.split("=", 1) for pair in shlex.split(rest))
            case "WORKDIR":
                image.workdir = rest
                (_seen(image) / rest.lstrip("/")).mkdir(parents=True, exist_ok=True)
            case "RUN":
                _run(image, _argv(rest), uv)
            case "COPY":
                _copy(image, rest, context, stages)
            case "USER":
                image.user = rest
            case "ENTRYPOINT":
                image.entrypoint = _argv(rest)
            case "CMD":
                image.cmd = _argv(rest)
            case "HEALTHCHECK":
                image.healthcheck = _argv(rest.partition("CMD ")[2])
            case "STOPSIGNAL":
                image.stop_signal = rest
            case _:
                assert word in ("LABEL", "EXPOSE", "VOLUME"), f"no step for {word}"
    return image


def _stage(holder: int, folder: Path, name: str, context: Path) -> Image:
    prefix = Path(sys.base_prefix)
    hidden = [path for path in (prefix, *prefix.parents) if not path.stat().st_mode & 0o001]
    words = (str(folder), name, str(context), " ".join(map(str, hidden)))
    subprocess.run(_inside(holder, "sh", "-c", STAGE, "sh", *words), check=True)
    # What `FROM python` brings: python, first on the path.
    image = Image(holder, folder / name / "root", {"PATH": f"{prefix}/bin:{PATH}"})
    python = _seen(image) / "usr/local/bin/python"
    python.unlink(missing_ok=True)
    python.symlink_to(prefix / "bin" / f"python3.{sys.version_info.minor}")
    return image


def _run(image: Image, argv: list[str], uv: Path) -> None:
    if argv[:2] == ["pip", "--python"]:
        _install(image, argv, uv)
    else:
        _do(image, argv)


def _install(image: Image, argv: list[str], uv: Path) -> None:
    """uv does the same as pip with the packages that this machine has at hand, in a tenth of the time."""
    uv_inside = _seen(image) / "usr/local/bin/uv"
    if not uv_inside.exists():
        shutil.copy(uv, uv_inside)
    _, _, python, verb, *what = argv
    _do(image, ["uv", "pip", verb, "--quiet", "--python", python, "--link-mode", "copy", *what])
    if argv[-1] == ".":
        # pip compiles what it installs, and uv nothing. This compiles what is needed to start.
        _do(image, [python, "-P", "-c", "import agentspan.cli.main, agentspan.server.app, agentspan.agents"])


def _do(image: Image, argv: list[str]) -> None:
    own = [f"{name}={value}" for name, value in image.env.items()]
    command = ["chroot", str(image.root), "env", f"--chdir={image.workdir}", *own, *argv]
    done = subprocess.run(_inside(image.holder, *command), capture_output=True, text=True)
    assert done.returncode == 0, (argv, done.stdout, done.stderr)


def _copy(image: Image, rest: str, context: Path, stages: dict[str, Image]) -> None:
    words = rest.split()
    flags = dict(word.removeprefix("--").split("=") for word in words if word.startswith("--"))
    *sources, target = (word for word in words if not word.startswith("--"))
    place = _seen(image) / os.path.join(image.workdir, target).lstrip("/")
    base = _seen(stages[flags["from"]]) if "from" in flags else context
    for source in sources:
        found = base / source.lstrip("/")
        into = place / found.name if target.endswith("/") else place
        into.parent.mkdir(parents=True, exist_ok=True)
        if "from" in flags:
            # Nobody writes to the other stage any more: a second look at it is as good as a copy, and takes no time.
            into.mkdir()
            other = stages[flags["from"]].root / source.lstrip("/")
            here = image.root / into.relative_to(_seen(image))
            subprocess.run(_inside(image.holder, "mount", "--bind", "-o", "ro", str(other), str(here)), check=True)
        else:
            _send(found, into, context, ignored(context))


def _send(found: Path, into: Path, context: Path, skip: "Ignored") -> None:
    files = [found] if found.is_file() else [path for path in found.rglob("*") if path.is_file()]
    sent = [path for path in files if not skip(path.relative_to(context).as_posix())]
    assert sent, f"{found} is not sent to the builder"
    for path in sent:
        to = into / path.relative_to(found) if path != found else into
        to.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, to)


def _seen(image: Image) -> Path:
    """The file system of an image as this process reaches it: through the namespace of who holds it."""
    return Path(f"/proc/{image.holder}/root{image.root}")


def _inside(holder: int, *command: str) -> list[str]:
    return ["nsenter", f"--mount=/proc/{holder}/ns/mnt", *command]


def _instructions(text: str) -> list[tuple[str, str]]:
    lines = [line for line in text.splitlines() if not line.lstrip().startswith("#")]
    joined = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(line.split(None, 1)[0], line.split(None, 1)[1]) for line in joined.splitlines() if line.strip()]


def instructions(dockerfile: Path) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, each in one line."""
    return _instructions(dockerfile.read_text())


def _argv(text: str) -> list[str]:
    if text.startswith("["):
        argv: list[str] = json.loads(text)
        return argv
    return ["/bin/sh", "-c", text]


def _filled(text: str, values: dict[str, str]) -> str:
    return re.sub(r"\$\{?(\w+)}?", lambda found: values.get(found[1], ""), text)


# What is sent to the builder


class Ignored:
    """The patterns of a .dockerignore: the last that fits a path, or a folder above it, decides."""

    def __init__(self, lines: list[str]) -> None:
        patterns = [line.strip() for line in lines if line.strip() and not line.startswith("#")]
        self._rules = [(not each.startswith("!"), _pattern(each.lstrip("!").strip("/"))) for each in patterns]

    def __call__(self, path: str) -> bool:
        skipped = False
        for skips, pattern in self._rules:
            if pattern.match(path):
                skipped = skips
        return skipped


def ignored(context: Path) -> Ignored:
    """What the .dockerignore of a context keeps back."""
    return Ignored((context / ".dockerignore").read_text().splitlines())


def _pattern(text: str) -> re.Pattern[str]:
    parts = re.split(r"(\*\*/|\*\*|\*|\?|\[[^]]*])", text)
    return re.compile(
        "".join(GLOBS.get(part, part if part[:1] == "[" else re.escape(part)) for part in parts) + "(/|$)"
    )


GLOBS = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}


def wait_until_healthy(image: Image, container: subprocess.Popen[str], **environ: str) -> str:
    """Ask as the engine asks, until the container says that it is well; what it said."""
    give_up = time.monotonic() + HEALTHY_SECONDS
    while (asked := image.ask_health(**environ)).returncode:
        assert container.poll() is None, container.communicate()
        assert time.monotonic() < give_up, asked.stdout
        time.sleep(0.1)
    return asked.stdout
