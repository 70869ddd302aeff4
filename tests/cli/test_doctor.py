"""`agentspan doctor` shows every setting with its source and fails when a server could not start."""

import json
import os
import socket

import agentspan as package
from agentspan.config import SETTINGS
from tests.cli.running import agentspan


def report(*arguments, folder, **environ):
    done = agentspan("doctor", "--json", *arguments, folder=folder, **environ)
    return done.returncode, json.loads(done.stdout)


def check(body, name):
    return next(each for each in body["checks"] if each["name"] == name)


def test_a_sound_machine_passes(folder):
    code, body = report(folder=folder)
    assert (code, body["ok"]) == (0, True)
    assert {each["name"] for each in body["settings"]} == {setting.field for setting in SETTINGS}
    assert body["versions"]["agentspan"] == package.__version__


def test_sources_are_named_and_secrets_are_not_shown(folder):
    environ = {
        "AGENTSPAN_AUTH_KEY": "kim",
        "AGENTSPAN_AUTH_SECRET": "hunter2",
        "SERVER_PORT": "7007",
        "AGENTSPAN_PORT": "",
    }
    code, body = report(folder=folder, **environ)
    assert code == 0
    rows = {each["name"]: (each["value"], each["source"]) for each in body["settings"]}
    assert rows["port"] == ("7007", "env SERVER_PORT")
    assert rows["auth_secret"][1] == "env AGENTSPAN_AUTH_SECRET"
    assert "hunter2" not in json.dumps(body)
    text = agentspan("doctor", folder=folder, **environ).stdout
    assert "port                   7007  (env SERVER_PORT)" in text
    assert "hunter2" not in text


def test_a_running_server_is_found(folder):
    agentspan("server", "start", folder=folder)
    _, body = report(folder=folder)
    assert "runs at http://127.0.0.1:" in check(body, "server")["detail"]
    assert check(body, "database")["state"] == "ok"


def test_a_wrong_setting_fails_with_its_sentence(folder):
    code, body = report(folder=folder, AGENTSPAN_PORT="many")
    assert (code, body["ok"]) == (1, False)
    assert "AGENTSPAN_PORT is 'many'" in check(body, "settings")["detail"]


def test_a_taken_port_fails(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, body = report(folder=folder, AGENTSPAN_PORT=str(taken.getsockname()[1]))
    assert code == 1
    assert "taken" in check(body, "server")["detail"]


def test_a_folder_that_cannot_be_written_fails(folder):
    (folder / "file").touch()
    code, body = report("--data-dir", str(folder / "file" / "inside"), folder=folder)
    assert (code, check(body, "data folder")["state"]) == (1, "FAIL")


def test_a_database_that_does_not_answer_fails(folder):
    code, body = report(folder=folder, AGENTSPAN_DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/x")
    assert code == 1
    assert "127.0.0.1:1" in check(body, "database")["detail"]
    assert "hunter2" not in json.dumps(body)


def test_providers_with_a_key_are_named(folder):
    _, body = report(
        folder=folder, ANTHROPIC_API_KEY="x", **{name: "" for name in os.environ if name.endswith("_API_KEY")}
    )
    assert "anthropic" in check(body, "models")["detail"]
