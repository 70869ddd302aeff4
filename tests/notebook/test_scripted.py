"""A script that is written down by `scripted_model` is what the server's scripted model reads."""

import json
import os
from pathlib import Path

import pytest

from agentspan.agents.testing import scripted_model
from agentspan.config import Settings
from agentspan.engine.providers.model import ModelRequest
from agentspan.engine.providers.scripted import answer


@pytest.fixture(autouse=True)
def scripts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("AGENTSPAN_DATA_DIR", str(tmp_path))
    return tmp_path / "scripts"


async def said(model: str) -> str:
    """The first answer, as a server that is started now gives it."""
    request = ModelRequest(model=model, messages=[{"role": "user", "content": "Hi"}])
    given = await answer(request, Settings.load(), lambda _: None, {})
    return given.content


async def test_a_script_is_found_by_the_name_that_it_is_given() -> None:
    model = scripted_model("greeting", ["Hello, you said {prompt}."])
    assert model == "scripted/greeting"
    assert await said(model) == "Hello, you said Hi."


async def test_a_script_that_is_written_again_is_another(scripts: Path) -> None:
    scripted_model("greeting", ["Hello."])
    await said("scripted/greeting")
    scripted_model("greeting", ["Good morning."])
    assert await said("scripted/greeting") == "Good morning."
    assert os.listdir(scripts) == ["greeting.json"]


def test_the_folder_is_the_one_that_the_server_reads(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AGENTSPAN_SCRIPTS", str(tmp_path / "elsewhere"))
    scripted_model("greeting", ["Hello."])
    assert json.loads((tmp_path / "elsewhere" / "greeting.json").read_text()) == {"greeting": ["Hello."]}


@pytest.mark.parametrize("name", ["", "../up", "a/b", ".hidden", "a b"])
def test_a_name_that_is_no_file_name_is_refused(name: str, scripts: Path) -> None:
    with pytest.raises(ValueError, match="a script's name"):
        scripted_model(name, ["Hello."])
    assert not scripts.exists()


def test_what_is_not_json_leaves_nothing_behind(scripts: Path) -> None:
    with pytest.raises(TypeError):
        scripted_model("greeting", [object()])
    assert not scripts.exists()
