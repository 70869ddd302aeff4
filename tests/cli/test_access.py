"""People, keys, tenants, links and the record of what was done are kept in a terminal, and nothing secret is shown."""

import json
import os

import pytest

from agentspan.agents import Agent, AgentRuntime
from agentspan.cli import codes
from tests.agents.serving import ServerProcess
from tests.cli.running import inside

PASSWORD = "correct horse battery"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server that asks for credentials."""
    found = ServerProcess(
        tmp_path_factory.mktemp("server"), AGENTSPAN_AUTH_KEY="root", AGENTSPAN_AUTH_SECRET="s3cret-s3cret"
    )
    found.script("plain", "hello")
    found.start()
    yield found
    found.stop()


@pytest.fixture(autouse=True)
def root(server, monkeypatch, tmp_path):
    """Who holds the settings' key and secret, by a profile."""
    for name in list(os.environ):
        if name.startswith("AGENTSPAN_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    for key, value in {"server_url": server.url, "auth_key": "root"}.items():
        assert inside("config", "set", key, value).code == 0
    assert inside("config", "set", "auth_secret", "--stdin", stdin="s3cret-s3cret").code == 0


def read(*words):
    """What a command says as JSON."""
    done = inside(*words, "-o", "json")
    assert done.code == 0, done.err
    return json.loads(done.out)


def test_who_has_no_or_wrong_credentials_is_told_so(server):
    assert read("whoami")["kind"] == "root"
    for words in (["--profile", "guest"], ["--profile", "wrong"]):
        inside(*words, "config", "set", "server_url", server.url)
    inside("--profile", "wrong", "config", "set", "api_key", "--stdin", stdin="asp_no_no")
    assert inside("--profile", "guest", "ps").code == codes.AUTH
    assert inside("--profile", "wrong", "ps").code == codes.AUTH


def test_a_user_is_made_logs_in_and_may_do_what_the_role_says(server):
    assert inside("users", "create", "kim", "--role", "viewer", "--password-stdin", stdin=PASSWORD).code == 0
    inside("--profile", "kim", "config", "set", "server_url", server.url)
    wrong = inside("--profile", "kim", "login", "--user", "kim", "--password-stdin", stdin="no")
    assert wrong.code == codes.AUTH
    said = inside("--profile", "kim", "login", "--user", "kim", "--password-stdin", stdin=PASSWORD)
    assert (said.code, PASSWORD in said.out + said.err) == (0, False)
    assert read("--profile", "kim", "whoami")["role"] == "viewer"
    assert inside("--profile", "kim", "ps").code == 0
    assert inside("--profile", "kim", "users", "ls").code == codes.AUTH
    other = f"{PASSWORD}\n{PASSWORD} staple"
    assert inside("--profile", "kim", "password", "--password-stdin", stdin=other).code == 0
    assert inside("login", "--user", "kim", "--password-stdin", stdin=f"{PASSWORD} staple").code == 0
    assert read("whoami")["name"] == "kim"
    assert inside("logout").code == 0
    assert inside("users", "update", "kim", "--role", "operator").code == 0
    assert inside("users", "update", "kim").code == codes.USAGE
    assert read("users", "show", "kim")["role"] == "operator"
    assert inside("--profile", "kim", "logout").code == 0
    assert inside("--profile", "kim", "ps").code == codes.AUTH
    assert inside("users", "delete", "kim", "--yes").code == 0
    assert inside("users", "show", "kim").code == codes.NOT_FOUND


def test_a_key_is_shown_once_opens_what_it_may_and_is_revoked(server, monkeypatch):
    made = inside("keys", "create", "ci", "--scopes", "read", "--expires", "1h", "-o", "id")
    key = made.out.strip()
    assert key.startswith("asp_")
    [row] = [row for row in read("keys", "ls") if row["name"] == "ci"]
    assert (row["scopes"], key in str(row)) == (["read"], False)
    monkeypatch.setenv("AGENTSPAN_API_KEY", key)
    assert inside("ps").code == 0
    assert inside("keys", "create", "more", "--role", "admin").code == codes.AUTH
    monkeypatch.delenv("AGENTSPAN_API_KEY")
    assert inside("keys", "revoke", row["id"], "--yes").out == f"revoked {row['id']}\n"
    monkeypatch.setenv("AGENTSPAN_API_KEY", key)
    assert inside("ps").code == codes.AUTH


def test_a_tenant_is_made_changed_and_removed(server):
    assert inside("tenants", "create", "acme", "--title", "Acme", "--quota", "startsPerMinute=60").code == 0
    assert read("tenants", "show", "acme")["quotas"]["startsPerMinute"] == 60
    key = inside("keys", "create", "first", "--role", "admin", "--tenant", "acme", "-o", "id").out.strip()
    inside("--profile", "acme", "config", "set", "server_url", server.url)
    inside("--profile", "acme", "config", "set", "api_key", "--stdin", stdin=key)
    assert read("--profile", "acme", "whoami")["tenant"] == "acme"
    assert inside("tenants", "update", "acme", "--disable").code == 0
    assert inside("tenants", "update", "acme", "--quota", "wishes=3").code == codes.USAGE
    assert "acme" in [each["name"] for each in read("tenants", "ls")]
    assert inside("tenants", "delete", "acme").code == codes.USAGE
    assert inside("tenants", "delete", "acme", "--yes").code == 0


def test_a_run_is_shared_and_the_record_says_who_did_it(server):
    config = {"server_url": server.url, "api_key": "root", "api_secret": "s3cret-s3cret"}
    with AgentRuntime(**config) as runtime:
        run = runtime.run(Agent("plain", "scripted/plain"), "hi").execution_id
    link = read("shares", "create", run, "--expires", "1d", "--note", "for lee")
    assert link["url"].startswith(f"{server.url}/shared/")
    [share] = read("shares", "ls")
    assert (share["executionId"], share["note"]) == (run, "for lee")
    assert inside("shares", "revoke", share["id"]).code == 0
    entries = read("audit", "--since", "1h", "--limit", "20")
    assert {"share.created", "share.revoked"} <= {each["action"] for each in entries}
    [made] = read("audit", "--action", "share.created")
    assert inside("audit", "--action", "share.created", "--fields", "by", "-q").out.strip() == made["by"]
