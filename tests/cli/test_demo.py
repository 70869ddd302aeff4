"""The demo takes the best model that is there and is honest about it."""

import subprocess
import sys

import pytest

from agentspan.cli import demo
from agentspan.config import Settings
from tests.cli.running import environment


@pytest.fixture
def settings(tmp_path):
    return Settings.load({"AGENTSPAN_DATA_DIR": str(tmp_path)})


def test_a_provider_with_a_key_is_taken(settings, monkeypatch):
    monkeypatch.setenv("MISTRAL_API_KEY", "x")
    model = demo.best_model(settings)
    assert model.name.startswith("mistral/")
    assert "MISTRAL_API_KEY" in model.why


def test_else_the_local_model(settings, monkeypatch):
    monkeypatch.setattr(demo, "why_not_local", lambda _: "")
    model = demo.best_model(settings)
    assert model.name == "local/smollm2"
    assert "no general brain" in model.why


def test_else_a_script_and_the_reason(settings, monkeypatch):
    monkeypatch.setattr(demo, "why_not_local", lambda _: "of the weather")
    model = demo.best_model(settings)
    assert model.name == "scripted/demo"
    assert "because of the weather" in model.why
    assert (settings.scripts_path / "demo.json").exists()


def test_the_demo_shows_the_answer_the_steps_and_where_to_look(folder):
    settings = Settings.load({"AGENTSPAN_DATA_DIR": str(folder)})
    demo.write_script(settings)
    command = [sys.executable, "-m", "agentspan.cli.demo", "scripted/demo"]
    done = subprocess.run(command, env=environment(folder), capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert 'process_data({"data": "12, 30 and 58"}) -> {"count": 3, "sum": 100}' in done.stdout
    assert "agentspan server stop" in done.stdout
    assert "/ui/runs/" in done.stdout
    assert "/api/agent/execution/" in done.stdout
