"""A data folder whose server, if a test leaves one, is stopped."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from agentspan.server import record


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """An empty data folder."""
    path = tmp_path / "data"
    path.mkdir()
    yield path
    if left := record.find(path):
        os.kill(left.pid, signal.SIGKILL)
