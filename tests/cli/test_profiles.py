"""Profiles say which server and as whom; the environment comes first, and no secret is ever on a command line."""

import os
import pty
import subprocess
import sys
import termios

import psutil
import pytest

from agentspan.cli import codes, profiles
from tests.cli.running import environment, inside

SECRET = "asp_1_canary0123"


@pytest.fixture(autouse=True)
def home(monkeypatch, tmp_path):
    """A user without settings."""
    for name in list(os.environ):
        if name.startswith("AGENTSPAN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    return tmp_path


def settings(*options):
    """What is in force, and who said so."""
    rows = inside(*options, "config", "explain", "--fields", "setting,value,source", "-o", "csv", "-q").out.splitlines()
    return {row.split(",")[0]: tuple(row.split(",")[1:]) for row in rows}


def test_a_profile_is_made_used_and_removed(home):
    assert inside("--profile", "prod", "config", "set", "server_url", "https://prod:6767").code == 0
    assert inside("config", "get", "server_url").code == codes.NOT_FOUND
    assert inside("--profile", "prod", "config", "get", "server-url").out == "https://prod:6767\n"
    assert inside("config", "use", "prod").code == 0
    assert inside("config", "get", "server_url").out == "https://prod:6767\n"
    assert inside("config", "unset", "server_url").code == 0
    assert inside("config", "get", "server_url").code == codes.NOT_FOUND
    assert inside("config", "delete", "prod", "--yes").code == 0
    assert inside("config", "list").out == ""
    assert inside("config", "path").out == f"{home}/agentspan/config.toml\n"


def test_a_secret_comes_from_where_nobody_sees_it_and_is_not_shown(home, monkeypatch):
    monkeypatch.setenv("THE_KEY", SECRET)
    (home / "file").write_text(SECRET)
    for words, stdin in [(["--from-env", "THE_KEY"], ""), (["--from-file", f"{home}/file"], ""), (["--stdin"], SECRET)]:
        assert inside("config", "unset", "api_key").code == 0
        done = inside("config", "set", "api_key", *words, stdin=stdin)
        assert (done.code, done.out) == (0, "api_key of the profile default is ***\n")
        assert profiles.setting("api_key") == SECRET
    for words in (["list"], ["explain"], ["get", "api_key"], ["list", "--json"]):
        assert SECRET not in inside("config", *words).out
    refused = inside("config", "set", "api_key", SECRET)
    assert (refused.code, SECRET in refused.err) == (codes.USAGE, False)


def test_the_file_is_for_its_user_alone(home):
    inside("config", "set", "user", "kim")
    file = home / "agentspan" / "config.toml"
    assert (file.stat().st_mode & 0o777, file.parent.stat().st_mode & 0o777) == (0o600, 0o700)
    assert [each.name for each in file.parent.iterdir()] == ["config.toml"]


def test_the_environment_comes_before_the_profile_and_an_option_before_both(home, monkeypatch):
    for key, value in {"server_url": "http://profile", "user": "kim"}.items():
        inside("config", "set", key, value)
    assert settings()["server_url"] == ("http://profile", "profile default")
    monkeypatch.setenv("AGENTSPAN_SERVER_URL", "http://env")
    monkeypatch.setenv("AGENTSPAN_USER", "lee")
    assert settings()["server_url"] == ("http://env", "env AGENTSPAN_SERVER_URL")
    assert settings("--server", "http://option")["server_url"] == ("http://option", "--server")
    assert settings()["user"] == ("lee", "env AGENTSPAN_USER")
    assert settings()["api_key"] == ("", "not set")


def test_credentials_are_shown_to_the_server_of_their_profile_alone(home, monkeypatch):
    inside("config", "set", "server_url", "https://prod:6767/api")
    inside("config", "set", "api_key", "--stdin", stdin=SECRET)
    assert profiles.credentials() == {"api_key": SECRET}
    assert settings("--server", "https://prod:6767")["api_key"] == ("***", "profile default")
    assert settings("--server", "https://evil")["api_key"] == ("", "not set")
    monkeypatch.setenv("AGENTSPAN_AUTH_KEY", "kim")
    assert settings()["api_key"] == ("", "not set")  # half of one and half of the other would be neither


def test_what_makes_no_sense_is_one_sentence(home, monkeypatch):
    for words, code, said in [
        (["config", "set", "colour", "red"], codes.USAGE, "there is no setting"),
        (["config", "set", "output", "xml"], codes.USAGE, "one of table"),
        (["--profile", "a b", "config", "set", "user", "kim"], codes.USAGE, "the name of a profile"),
        (["--profile", "nowhere", "ps"], codes.FAILED, "there is no profile 'nowhere'"),
        (["config", "use", "nowhere"], codes.NOT_FOUND, "there is no profile"),
    ]:
        done = inside(*words)
        assert (done.code, done.err.count("\n")) == (code, 1), done
        assert said in done.err
    (home / "agentspan").mkdir(exist_ok=True)
    (home / "agentspan" / "config.toml").write_text("not toml")
    broken = inside("ps")
    assert (broken.code, broken.err.count("\n")) == (codes.FAILED, 1)


def test_the_output_of_a_profile_is_the_default(home):
    inside("config", "set", "output", "json")
    assert inside("config", "list").out.startswith("[")
    assert not inside("config", "list", "-o", "table").out.startswith("[")


def test_no_secret_is_in_the_list_of_processes(home):
    """Typed at a terminal: seen neither there, nor in the command line or the environment of the process."""
    keyboard, terminal = pty.openpty()
    command = [sys.executable, "-m", "agentspan", "config", "set", "api_key"]
    with subprocess.Popen(command, env=environment(home), stdin=terminal, stdout=terminal, stderr=terminal) as running:
        os.close(terminal)
        seen = ""
        while "Value of api_key" not in seen:
            seen += os.read(keyboard, 1024).decode()
        while termios.tcgetattr(keyboard)[3] & termios.ECHO:
            assert running.poll() is None
        os.write(keyboard, f"{SECRET}\n".encode())
        process, looked = psutil.Process(running.pid), 0
        while running.poll() is None:
            looked += 1
            try:
                assert SECRET not in " ".join(process.cmdline()) + str(process.environ())
                seen += os.read(keyboard, 1024).decode() if "is ***" not in seen else ""
            except (psutil.Error, OSError):
                break
        assert running.wait(20) == 0
        assert looked
    os.close(keyboard)
    assert SECRET not in seen
    assert profiles.setting("api_key") == SECRET
