"""`agentspan credentials` keeps secrets on the server of this user, and never takes one as an argument."""

import base64
import json
import os
import subprocess
import sys

import pytest

from tests.cli.running import agentspan, environment

VALUE = "sk-canary-0123456789"


def command(folder, *arguments, value=None, **environ):
    """Run the command on the server of this folder, with a value on its standard input."""
    return subprocess.run(
        [sys.executable, "-m", "agentspan.cli.main", "credentials", *arguments],
        env=environment(folder, **environ),
        input=value or "",
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def served(folder):
    """A folder whose server runs."""
    started = agentspan("server", "start", folder=folder)
    assert started.returncode == 0, started.stderr
    yield folder
    agentspan("server", "stop", folder=folder)


def test_a_credential_is_stored_from_where_nobody_sees_it(served):
    file = served / "value.txt"
    file.write_text(VALUE)
    for name, more in {
        "TYPED": {"value": f"{VALUE}\n"},
        "FILE": {"arguments": ["--from-file", str(file)]},
        "ENV": {"arguments": ["--from-env", "THE_KEY"], "THE_KEY": VALUE},
    }.items():
        done = command(served, "set", name, *more.pop("arguments", ()), **more)
        assert (done.returncode, done.stdout) == (0, f"stored {name}\n"), done.stderr
        assert VALUE not in done.stderr
    listed = command(served, "list")
    assert [line.split()[:2] for line in listed.stdout.splitlines()] == [
        ["NAME", "VALUE"],
        ["ENV", "sk-c...6789"],
        ["FILE", "sk-c...6789"],
        ["TYPED", "sk-c...6789"],
    ]
    found = json.loads(command(served, "list", "--json").stdout)
    assert [each["name"] for each in found] == ["ENV", "FILE", "TYPED"]
    assert VALUE not in listed.stdout + str(found)
    for _ in range(2):
        assert command(served, "delete", "FILE").stdout == "deleted FILE\n"
    assert "FILE" not in command(served, "list").stdout


def test_a_name_may_stand_for_another(served):
    command(served, "set", "STORED", value=VALUE)
    assert command(served, "bind", "LOGICAL", "STORED").stdout == "LOGICAL stands for STORED\n"
    assert command(served, "bindings").stdout.split()[-2:] == ["LOGICAL", "STORED"]
    assert json.loads(command(served, "bindings", "--json").stdout) == [
        {"logical_key": "LOGICAL", "store_name": "STORED"}
    ]
    assert command(served, "unbind", "LOGICAL").returncode == 0
    assert command(served, "bindings").stdout == ""


def test_all_is_sealed_anew_when_the_master_key_changes(folder):
    old, new = (base64.b64encode(letter * 32).decode() for letter in (b"o", b"n"))
    keys = {"AGENTSPAN_MASTER_KEY": old}
    try:
        assert agentspan("server", "start", folder=folder, **keys).returncode == 0
        for name in ("ONE", "TWO"):
            assert command(folder, "set", name, value=VALUE).returncode == 0
        agentspan("server", "stop", folder=folder)
        keys = {"AGENTSPAN_MASTER_KEY": new, "AGENTSPAN_OLD_MASTER_KEYS": old}
        assert agentspan("server", "start", folder=folder, **keys).returncode == 0
        for resealed in (2, 0):
            done = command(folder, "rotate", "--json")
            assert done.returncode == 0, done.stderr
            assert (json.loads(done.stdout)["resealed"], json.loads(done.stdout)["left"]) == (resealed, 0)
            assert not any(each in done.stdout + done.stderr for each in (old, new, VALUE))
    finally:
        agentspan("server", "stop", folder=folder)


def test_what_cannot_be_stored_is_one_sentence(served):
    for arguments, value, said in [
        (["set", "KEY"], "", "a credential needs a value"),
        (["set", "a b"], "x", "letters, digits"),
        (["set", "KEY", "--from-env", "NOT_THERE"], "", "there is no environment variable NOT_THERE"),
        (["set", "KEY", "--from-file", "/not/there"], "", "/not/there cannot be read"),
        (["set", "KEY", "--from-file", "/x", "--from-env", "Y"], "", "not from both"),
    ]:
        done = command(served, *arguments, value=value)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1), done.stderr
        assert said in done.stderr


def test_a_value_is_no_argument(folder):
    done = command(folder, "set", "KEY", VALUE)
    assert done.returncode == 2
    assert os.listdir(folder) == []
