"""The process: where it binds, what it writes for others to find, how it ends."""

import os
import socket
import stat
import threading

import pytest

from agentspan.config import Settings
from agentspan.errors import ConfigurationProblem
from agentspan.server import record
from agentspan.server.app import address, bind, check_bind
from agentspan.server.record import Claim
from tests.server.conftest import KEY


def settings(tmp_path, **environ):
    return Settings.load({"AGENTSPAN_DATA_DIR": str(tmp_path), "AGENTSPAN_PORT": "0", **environ})


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "box.lan"])
def test_a_server_for_others_needs_credentials_or_an_explicit_word(tmp_path, host):
    with pytest.raises(ConfigurationProblem, match="AGENTSPAN_AUTH_KEY"):
        check_bind(settings(tmp_path, AGENTSPAN_HOST=host))
    check_bind(settings(tmp_path, AGENTSPAN_HOST=host, **KEY))
    check_bind(settings(tmp_path, AGENTSPAN_HOST=host, AGENTSPAN_ALLOW_INSECURE_BIND="true"))


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1"])
def test_a_server_for_this_machine_needs_none(tmp_path, host):
    check_bind(settings(tmp_path, AGENTSPAN_HOST=host))


def test_the_address_tells_the_real_port(tmp_path):
    sockets = bind(settings(tmp_path))
    port = sockets[0].getsockname()[1]
    assert address(settings(tmp_path), sockets) == f"http://127.0.0.1:{port}"
    assert address(settings(tmp_path, AGENTSPAN_HOST="0.0.0.0"), sockets) == f"http://127.0.0.1:{port}"
    assert address(settings(tmp_path, AGENTSPAN_HOST="::1"), sockets) == f"http://[::1]:{port}"
    for each in sockets:
        each.close()


# Tornado forgets the socket that it could not bind.
forgotten = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@forgotten
def test_a_taken_port_is_a_sentence(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with pytest.raises(ConfigurationProblem, match=f"port {port} .* is taken"):
            bind(settings(tmp_path, AGENTSPAN_PORT=port))


@forgotten
def test_an_address_of_another_machine_is_a_sentence(tmp_path):
    with pytest.raises(ConfigurationProblem, match=r"no address 192\.0\.2\.1"):
        bind(settings(tmp_path, AGENTSPAN_HOST="192.0.2.1"))


def test_a_record_is_its_owners_alone_and_true_as_long_as_the_server_lives(tmp_path):
    claim = Claim(tmp_path / "new")
    assert claim
    claim.write("http://127.0.0.1:1", "sqlite:///x", "1.0")
    assert stat.S_IMODE((tmp_path / "new" / "server.json").stat().st_mode) == 0o600
    found = record.find(tmp_path / "new")
    assert (found.pid, found.url, found.database, found.version) == (
        os.getpid(),
        "http://127.0.0.1:1",
        "sqlite:///x",
        "1.0",
    )
    claim.release()
    assert record.find(tmp_path / "new") is None


def test_what_a_dead_server_left_is_no_server(tmp_path):
    claim = Claim(tmp_path)
    claim.write("http://127.0.0.1:1", "sqlite:///x", "1.0")
    claim._file.close()
    assert (tmp_path / "server.json").exists()
    assert record.find(tmp_path) is None


def test_a_look_at_the_lock_does_not_put_off_a_server(tmp_path):
    (tmp_path / "server.lock").touch()
    looking = threading.Event()

    def look():
        while not looking.is_set():
            record.is_held(tmp_path)

    watcher = threading.Thread(target=look)
    watcher.start()
    try:
        for _ in range(50):
            claim = Claim(tmp_path)
            assert claim
            claim.release()
    finally:
        looking.set()
        watcher.join()


def test_a_second_server_on_the_folder_leaves_the_record_alone(tmp_path):
    first, second = Claim(tmp_path), Claim(tmp_path)
    assert first
    assert not second
    second.release()
    assert record.is_held(tmp_path)
    first.release()
