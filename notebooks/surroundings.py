"""Where notebooks run when nobody watches: a folder of their own, any free port, no keys, and nothing left behind."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress

import psutil

HIDDEN = ("AGENTSPAN_", "SPRING_")
GONE_SECONDS = 10.0


@contextmanager
def apart() -> Iterator[None]:
    """Let the kernels that are started meanwhile find no server, no data and no keys of the person who runs them.

    The servers and the workers that they have started end with it.
    """
    folder = os.path.realpath(tempfile.mkdtemp(prefix="notebooks-"))
    before = dict(os.environ)
    for name in before:
        if name.startswith(HIDDEN) or name.endswith("_API_KEY") or name == "SERVER_PORT":
            del os.environ[name]
    # A notebook may choose another data folder; as a temporary folder, it is below this one.
    os.environ.update(AGENTSPAN_DATA_DIR=os.path.join(folder, "data"), AGENTSPAN_PORT="0", TMPDIR=folder)
    tempfile.tempdir = None
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)
        tempfile.tempdir = None
        end_processes(folder)
        shutil.rmtree(folder, ignore_errors=True)


def end_processes(folder: str) -> None:
    """End every process that works on a data folder below this one."""
    left = [each for each in psutil.process_iter() if data_folder(each).startswith(folder)]
    for process in left:
        with suppress(psutil.NoSuchProcess):
            process.kill()
    psutil.wait_procs(left, GONE_SECONDS)


def data_folder(process: psutil.Process) -> str:
    with suppress(psutil.Error, OSError):
        if process.pid != os.getpid():
            return process.environ().get("AGENTSPAN_DATA_DIR", "")
    return ""
