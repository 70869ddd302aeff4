"""The command line in processes of its own."""

import os
import subprocess
import sys
from pathlib import Path


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
