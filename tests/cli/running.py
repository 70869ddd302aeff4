"""The command line in processes of its own, and in this one."""

import contextlib
import io
import os
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

from agentspan.cli.main import main


def agentspan(*arguments: str, folder: Path, **environ: str) -> subprocess.CompletedProcess[str]:
    """Run `agentspan` on a data folder, to its end."""
    return subprocess.run(
        [sys.executable, "-m", "agentspan.cli.main", *arguments],
        env=environment(folder, **environ),
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
    )


def environment(folder: Path, **environ: str) -> dict[str, str]:
    return {**os.environ, "AGENTSPAN_DATA_DIR": str(folder), "AGENTSPAN_PORT": "0", "NO_COLOR": "1", **environ}


class Ended(NamedTuple):
    """What a command said and how it ended."""

    code: int
    out: str
    err: str


def inside(*arguments: str, stdin: str | None = None) -> Ended:
    """Run `agentspan` in this process, with its environment: as quick as there are many of them."""
    given = io.StringIO(stdin or "")
    with (
        pytest.MonkeyPatch.context() as patch,
        contextlib.redirect_stdout(io.StringIO()) as out,
        contextlib.redirect_stderr(io.StringIO()) as err,
    ):
        patch.setattr(sys, "argv", ["agentspan", *arguments])
        patch.setattr(sys, "stdin", given)
        with pytest.raises(SystemExit) as end:
            main()
    return Ended(int(end.value.code or 0), out.getvalue(), err.getvalue())
