"""`agentspan doctor` shows every setting with its source and fails when a server could not start."""

import http.server
import importlib.metadata
import json
import os
import socket
import threading

import pytest

import agentspan as package
from agentspan.cli import doctor, examining
from agentspan.config import SETTINGS, Settings
from tests.cli.running import agentspan, environment, inside
from tests.store.test_upgrade import of_version


def report(*arguments, folder, **environ):
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment(folder, **environ).items():
            patch.setenv(name, value)
        done = inside("doctor", "--json", *arguments)
    return done.code, json.loads(done.out)


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


def test_files_that_others_may_read_are_found_and_closed(folder):
    folder.chmod(0o755)
    (folder / "master.key").write_bytes(bytes(32))
    (folder / "master.key").chmod(0o644)
    _, body = report(folder=folder)
    assert check(body, "data folder")["state"] == "warn"
    code, body = report("--fix", folder=folder)
    assert code == 0
    assert len(body["fixed"]) == 2
    assert check(body, "data folder")["state"] == "ok"
    assert ((folder / "master.key").stat().st_mode & 0o777, folder.stat().st_mode & 0o777) == (0o600, 0o700)


def test_an_old_schema_fails_and_is_mended(folder):
    with of_version(f"sqlite:///{folder / 'agentspan.db'}", "0006"):
        pass
    code, body = report(folder=folder)
    assert code == 1
    assert "agentspan db upgrade" in check(body, "schema")["detail"]
    code, body = report("--fix", folder=folder)
    assert (code, check(body, "schema")["state"]) == (0, "ok")
    assert "this version's schema" in str(body["fixed"])


def test_an_insecure_bind_and_a_missing_key_fail(folder):
    code, body = report(folder=folder, AGENTSPAN_HOST="0.0.0.0")
    assert code == 1
    assert check(body, "bind")["state"] == check(body, "master key")["state"] == "FAIL"
    open_ = {"AGENTSPAN_HOST": "0.0.0.0", "AGENTSPAN_ALLOW_INSECURE_BIND": "true"}
    _, body = report(folder=folder, **open_, AGENTSPAN_MASTER_KEY="A" * 43 + "=")
    assert (check(body, "bind")["state"], check(body, "master key")["state"]) == ("warn", "ok")


def test_who_has_the_port_is_named(folder):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        assert examining.owner_of(taken.getsockname()[1]).startswith(f"process {os.getpid()} (")
    assert examining.owner_of(1) == ""


def answers(**served):
    """A server that answers paths with a status, a body, and headers."""

    class Answer(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            status, body, *date = served[self.path.strip("/").replace("/", "_").replace(".", "_")]
            if callable(status):
                status = status(self.headers)
            self.send_response_only(status)
            self.send_header("Date", date[0] if date else self.date_time_string())
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Answer)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def stop():
        server.shutdown()
        server.server_close()
        thread.join()

    return f"http://127.0.0.1:{server.server_address[1]}", stop


def looked(url, **headers):
    return {each.name: each for each in examining.client(url, headers, "test")}


def test_a_client_sees_whom_it_speaks_to_and_how_they_differ():
    health = {"healthy": True, "version": "9.1.0"}
    url, stop = answers(health=(200, health, "Mon, 01 Jan 2001 00:00:00 GMT"), api_version=(401, {}))
    try:
        found = looked(f"{url}/api")
    finally:
        stop()
    assert found["connection"].state == "ok"
    assert (found["versions"].state, "9.1.0" in found["versions"].detail) == ("warn", True)
    assert found["server's clock"].state == "warn"
    assert "behind" in found["server's clock"].detail
    assert found["credentials"].state == "FAIL"


def test_a_client_without_a_server_fails_with_the_address(folder):
    code, body = report(folder=folder, AGENTSPAN_SERVER_URL="http://127.0.0.1:1")
    assert code == 1
    assert "127.0.0.1:1 (env AGENTSPAN_SERVER_URL)" in check(body, "connection")["detail"]
    url, stop = answers(health=(404, {}))
    try:
        assert "no agentspan server" in looked(url)["connection"].detail
    finally:
        stop()


def test_providers_are_asked_only_on_demand_and_say_whether_the_key_is_good():
    def judged(headers):
        return 200 if headers.get("Authorization") == "Bearer good" else 401

    url, stop = answers(models=(judged, {"data": []}))
    try:
        for key, state in (("good", "ok"), ("bad", "FAIL")):
            environ = {"OPENAI_API_KEY": key, "OPENAI_BASE_URL": url}
            [found, other] = examining.live(environ, ["openai", "bedrock"])
            assert (found.state, other.state) == (state, "warn")
            assert key not in found.detail or key == "good"
    finally:
        stop()
    [away] = examining.live({"OPENAI_API_KEY": "x", "OPENAI_BASE_URL": "http://127.0.0.1:1"}, ["openai"])
    assert away.state == "FAIL"


def test_an_old_kernel_is_named(monkeypatch):
    versions = {"ipykernel": "6.31.0"}
    monkeypatch.setattr(importlib.metadata, "version", versions.__getitem__)
    assert examining.kernel().state == "warn"
    versions["ipykernel"] = "7.1.0"
    assert examining.kernel().state == "ok"


def test_clocks_that_differ_are_named_with_the_side():
    assert examining.clock("clock", 2).state == "ok"
    assert "60 s ahead of" in examining.clock("clock", 60).detail
    assert "60 s behind" in examining.clock("clock", -60).detail


def test_the_clock_of_postgresql_agrees(postgres_url, tmp_path):
    settings = Settings.load({"AGENTSPAN_DATABASE_URL": postgres_url, "AGENTSPAN_DATA_DIR": str(tmp_path)})
    assert [each.state for each in doctor.clock(settings)] == ["ok"]
    assert doctor.schema(settings).state == "ok", "an empty database gets its schema at the first start"
