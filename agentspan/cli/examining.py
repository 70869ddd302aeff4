"""What `agentspan doctor` finds out about a machine: its Python, its folder, its ports, and whom it can reach."""

import email.utils
import importlib.metadata
import importlib.util
import json
import os
import platform
import shutil
import ssl
import stat
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import agentspan

OK, WARN, FAIL = "ok", "warn", "FAIL"
LOW_DISK_BYTES, NO_DISK_BYTES = 1 << 30, 100 << 20
CONNECT_SECONDS = 3.0
SKEW_SECONDS = 5.0
KERNEL = 7
"""From this version on, a cell that waits can show cards that answer."""


class Check(NamedTuple):
    name: str
    state: str
    detail: str


class Answer(NamedTuple):
    """What an address answered: a status, when by its own clock (0: it does not say), and JSON."""

    status: int
    at: float
    body: Any


# The machine


def python() -> Check:
    return Check(
        "python", OK if sys.version_info >= (3, 11) else FAIL, f"{platform.python_version()} ({sys.executable})"
    )


def packages() -> Check:
    missing = [
        extra for extra, names in EXTRAS.items() if any(importlib.util.find_spec(name) is None for name in names)
    ]
    have = f"extras installed: {', '.join(extra for extra in EXTRAS if extra not in missing) or 'none'}"
    if "server" in missing:
        return Check("packages", WARN, f'{have}; a local server needs: pip install "agentspan[server]"')
    return Check("packages", OK, have)


def kernel() -> Check:
    try:
        found = importlib.metadata.version("ipykernel")
    except importlib.metadata.PackageNotFoundError:
        return Check("kernel", OK, "no ipykernel here: notebooks run elsewhere, if at all")
    if int(found.partition(".")[0]) < KERNEL:
        return Check(
            "kernel",
            WARN,
            f"ipykernel {found} shows a card only when its cell has ended: pip install 'ipykernel>={KERNEL}'",
        )
    return Check("kernel", OK, f"ipykernel {found}")


def folder(path: Path) -> Check:
    try:
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as problem:
        return Check("data folder", FAIL, f"{path} cannot be written: {problem.strerror}; set AGENTSPAN_DATA_DIR")
    if open_ := open_to_others(path):
        shown = ", ".join(str(each) for each in open_[:3])
        return Check("data folder", WARN, f"other users may read {shown}: agentspan doctor --fix closes it")
    return Check("data folder", OK, str(path))


def open_to_others(path: Path) -> list[Path]:
    """What of a data folder others may read, where the system has such rights."""
    if os.name == "nt":
        return []
    if not stat.S_IMODE(path.stat().st_mode) & 0o077:
        return []  # nobody gets in, whatever the files inside allow
    private = [path / name for name in PRIVATE if (path / name).exists()]
    readable = [each for each in private if stat.S_IMODE(each.stat().st_mode) & 0o077]
    return [*readable, path] if readable else []


def close_to_others(path: Path) -> list[str]:
    """Take others' rights to a data folder away; says what was done."""
    done = []
    for each in open_to_others(path):
        each.chmod(0o700 if each.is_dir() else 0o600)
        done.append(f"closed {each} to other users")
    return done


def disk(path: Path) -> Check:
    while not path.exists():
        path = path.parent
    free = shutil.disk_usage(path).free
    state = FAIL if free < NO_DISK_BYTES else WARN if free < LOW_DISK_BYTES else OK
    return Check("disk", state, f"{free / (1 << 30):.1f} GB free")


def owner_of(port: int) -> str:
    """Who listens on a port of this machine, as far as this user may know; "" if that cannot be found out."""
    try:
        inodes = {line.split()[9] for line in _listening(port)}
        for process in Path("/proc").iterdir():
            if process.name.isdecimal() and inodes & _sockets(process):
                command = (process / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
                return f"process {process.name} ({command[:80]})"
    except OSError:
        return ""
    return ""


def _listening(port: int) -> Iterator[str]:
    for table in (Path("/proc/net/tcp"), Path("/proc/net/tcp6")):
        lines = table.read_text().splitlines()[1:] if table.exists() else []
        yield from (line for line in lines if line.split()[1].endswith(f":{port:04X}") and line.split()[3] == "0A")


def _sockets(process: Path) -> set[str]:
    found = set()
    try:
        for handle in (process / "fd").iterdir():
            target = os.readlink(handle)
            if target.startswith("socket:["):
                found.add(target[8:-1])
    except OSError:  # another user's, or gone meanwhile
        pass
    return found


def browser() -> Check:
    """For whoever works on agentspan: what the tests of pages need."""
    path = next((found for name in BROWSERS if (found := shutil.which(name))), "")
    driver = importlib.util.find_spec("playwright") is not None
    if path and driver:
        return Check("browser", OK, path)
    missing = "playwright is not installed" if path else "no Chromium: tests/chromium.sh installs it"
    return Check("browser", WARN, f"pages cannot be tested here: {missing}")


# Whom it can reach


def ask(url: str, headers: Mapping[str, str] | None = None) -> Answer:
    """What a GET is answered. OSError if nobody answers."""
    request = urllib.request.Request(url, headers=dict(headers or {}))
    try:
        with urllib.request.urlopen(request, timeout=CONNECT_SECONDS) as response:
            return Answer(response.status, _date(response.headers), _json(response.read(1 << 20)))
    except urllib.error.HTTPError as refused:
        with refused:
            return Answer(refused.code, _date(refused.headers), _json(refused.read(1 << 20)))


def _date(headers: Any) -> float:
    text = headers.get("Date")
    return email.utils.parsedate_to_datetime(text).timestamp() if text else 0.0


def _json(text: bytes) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


def client(url: str, headers: Mapping[str, str], source: str) -> Iterator[Check]:
    """How this machine and the server that its commands speak to fit together."""
    root = url.rstrip("/").removesuffix("/api")
    try:
        before = time.time()
        health = ask(f"{root}/health")
        middle = (before + time.time()) / 2
    except (OSError, ssl.SSLError, ValueError) as problem:
        reason = getattr(problem, "reason", problem)
        yield Check("connection", FAIL, f"nobody answers at {root} ({source}): {reason}")
        return
    body = health.body if isinstance(health.body, dict) else {}
    if not body.get("healthy"):
        yield Check("connection", FAIL, f"what answers at {root} ({source}) is no agentspan server")
        return
    yield Check("connection", OK, f"{root} ({source})")
    yield version(str(body.get("version") or ""))
    if health.at:
        # The date in a header has no fractions.
        yield clock("server's clock", health.at + 0.5 - middle)
    answer = ask(f"{root}/api/version", headers)
    known = answer.status not in (401, 403)
    yield Check(
        "credentials",
        OK if known else FAIL,
        "accepted, or none are asked for" if known else "refused: run agentspan login, or set AGENTSPAN_API_KEY",
    )


def version(theirs: str) -> Check:
    """Whether this package and the server's are of one kind."""
    ours = agentspan.__version__
    if theirs.split(".")[:2] == ours.split(".")[:2]:
        return Check("versions", OK, f"{ours} here, {theirs} on the server")
    newer = _numbers(theirs) > _numbers(ours)
    advice = f"pip install 'agentspan=={theirs}'" if newer else "upgrade the server"
    return Check("versions", WARN, f"{ours} here, {theirs or 'unknown'} on the server: {advice}")


def _numbers(text: str) -> list[int]:
    return [int(part) for part in text.split(".") if part.isdecimal()]


def clock(name: str, ahead_seconds: float) -> Check:
    off = abs(ahead_seconds)
    if off <= SKEW_SECONDS:
        return Check(name, OK, "agrees with this machine's")
    side = "ahead of" if ahead_seconds > 0 else "behind"
    return Check(name, WARN, f"is {off:.0f} s {side} this machine's: let both follow a time server")


def live(environ: Mapping[str, str], enabled: list[str]) -> Iterator[Check]:
    """Whether the providers that have a key are there and take it; asking for the list of models costs nothing."""
    for provider in enabled:
        known = MODEL_LISTS.get(provider)
        if known is None:
            yield Check(f"live {provider}", WARN, "cannot be asked without a model call")
            continue
        variable, bases, default, header = known
        base = next((environ[name] for name in bases if environ.get(name)), default).rstrip("/")
        key = environ.get(variable, "")
        value = f"Bearer {key}" if header == "Authorization" else key
        try:
            answer = ask(f"{base}/models", {header: value, **EXTRA_HEADERS.get(provider, {})})
        except (OSError, ValueError) as problem:
            reason = getattr(problem, "reason", problem)
            yield Check(f"live {provider}", FAIL, f"nobody answers at {base}: {reason}")
            continue
        yield Check(f"live {provider}", *_said(answer.status, base, variable))


def _said(status: int, base: str, variable: str) -> tuple[str, str]:
    if status in (401, 403):
        return FAIL, f"{base} refuses the key in {variable}"
    if status >= 500:
        return WARN, f"{base} answers {status}: the provider has trouble"
    return OK, f"{base} answers, and takes the key" if status < 400 else f"{base} answers {status}"


PRIVATE = ("master.key", "agentspan.db", "server.json", "server.log")
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
MODEL_LISTS = {
    "openai": ("OPENAI_API_KEY", ("OPENAI_BASE_URL", "OPENAI_API_BASE"), "https://api.openai.com/v1", "Authorization"),
    "anthropic": (
        "ANTHROPIC_API_KEY",
        ("ANTHROPIC_BASE_URL", "ANTHROPIC_API_BASE"),
        "https://api.anthropic.com/v1",
        "x-api-key",
    ),
    "gemini": (
        "GEMINI_API_KEY",
        ("GEMINI_BASE_URL",),
        "https://generativelanguage.googleapis.com/v1beta",
        "x-goog-api-key",
    ),
    "mistral": ("MISTRAL_API_KEY", ("MISTRAL_BASE_URL",), "https://api.mistral.ai/v1", "Authorization"),
    "groq": ("GROQ_API_KEY", ("GROQ_BASE_URL",), "https://api.groq.com/openai/v1", "Authorization"),
    "deepseek": ("DEEPSEEK_API_KEY", ("DEEPSEEK_BASE_URL",), "https://api.deepseek.com", "Authorization"),
    "openrouter": ("OPENROUTER_API_KEY", ("OPENROUTER_BASE_URL",), "https://openrouter.ai/api/v1", "Authorization"),
    "together_ai": ("TOGETHER_AI_API_KEY", ("TOGETHER_AI_BASE_URL",), "https://api.together.xyz/v1", "Authorization"),
    "xai": ("XAI_API_KEY", ("XAI_BASE_URL",), "https://api.x.ai/v1", "Authorization"),
}
"""Where providers list their models: the variable of the key, those of another address, the address, the header."""
EXTRA_HEADERS = {"anthropic": {"anthropic-version": "2023-06-01"}}
EXTRAS = {
    "server": ("tornado", "sqlalchemy", "alembic", "psycopg", "litellm", "jwt", "prometheus_client"),
    "local": ("xllamacpp",),
    "notebook": ("ipykernel", "anywidget"),
    "dashboard": ("panel",),
    "otel": ("opentelemetry.sdk",),
}
