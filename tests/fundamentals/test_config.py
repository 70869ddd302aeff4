"""Settings: every name a value goes by, what stops the start, and that no secret is ever shown."""

import sys
from pathlib import Path

import pytest

from agentspan.config import SETTINGS, Limit, Rate, Rule, Settings, mask_url, rules
from agentspan.errors import ConfigurationProblem

HOME = {"HOME": "/home/ada"}
JDBC = "SPRING_DATASOURCE_URL"


def load(**environ: str) -> Settings:
    return Settings.load(HOME | environ)


def problem(**environ: str) -> str:
    with pytest.raises(ConfigurationProblem) as caught:
        load(**environ)
    return caught.value.message


def test_an_empty_environment_gives_the_defaults_and_says_so():
    settings = load()
    assert (settings.host, settings.port, settings.pool_size) == ("127.0.0.1", 6767, 8)
    assert settings.max_body_bytes == 32 * 1024 * 1024
    assert settings.auth_key is None
    assert set(settings.sources.values()) == {"default"}


def test_each_field_can_be_set_by_a_native_variable():
    fields = set(Settings.__struct_fields__) - {"sources", "tenant"}
    assert {setting.field for setting in SETTINGS} == fields
    for setting in SETTINGS:
        natives = [name for name in setting.names if name.startswith("AGENTSPAN_")]
        assert len(natives) == 1, f"{setting.field} has no native variable, or several"


def test_a_value_keeps_its_source():
    settings = load(SERVER_PORT="7000", AGENTSPAN_HOST="localhost", SPRING_DATASOURCE_HIKARI_MAXIMUM_POOL_SIZE="3")
    assert (settings.port, settings.sources["port"]) == (7000, "env SERVER_PORT")
    assert (settings.host, settings.sources["host"]) == ("localhost", "env AGENTSPAN_HOST")
    assert (settings.pool_size, settings.sources["pool_size"]) == (3, "env SPRING_DATASOURCE_HIKARI_MAXIMUM_POOL_SIZE")


def test_an_option_wins_over_the_native_name_and_that_over_the_other_name():
    environ = HOME | {"AGENTSPAN_PORT": "7001", "SERVER_PORT": "7000"}
    assert Settings.load(environ).port == 7001
    settings = Settings.load(environ, {"--port": "7002", "--host": None})
    assert (settings.port, settings.sources["port"]) == (7002, "option --port")
    assert settings.sources["host"] == "default"


def test_what_kubernetes_says_of_a_service_of_our_name_is_no_setting():
    assert load(AGENTSPAN_PORT="tcp://10.0.0.1:6767").port == 6767


def test_an_empty_variable_counts_as_not_set():
    assert load(AGENTSPAN_PORT=" ", SERVER_PORT="").sources["port"] == "default"


@pytest.mark.parametrize(
    ("variable", "value", "accepted"),
    [
        ("AGENTSPAN_PORT", "abc", "from 0 (any free port) to 65535"),
        ("SERVER_PORT", "65536", "from 0 (any free port) to 65535"),
        ("AGENTSPAN_POOL_SIZE", "0", "from 1 to 1000"),
        ("AGENTSPAN_LEASE_SECONDS", "0", "above 0"),
        ("AGENTSPAN_TOTAL_SECONDS", "inf", "above 0"),
        ("AGENTSPAN_IDLE_SECONDS", "nan", "above 0"),
        ("AGENTSPAN_ALLOW_INSECURE_BIND", "maybe", "true or false"),
        ("AGENTSPAN_SQLITE_SYNCHRONOUS", "OFF", "FULL or NORMAL"),
        ("AGENTSPAN_LOG_LEVEL", "loud", "debug, info, warning or error"),
        ("AGENTSPAN_ALLOWED_HOSTS", "a b", "commas"),
        ("AGENTSPAN_OUTGOING_ALLOW", "http://x", "commas"),
        ("AGENTSPAN_HOST", "http://x", "such as 127.0.0.1"),
        ("SPRING_PROFILES_ACTIVE", "postgre", "'postgres'"),
    ],
)
def test_a_wrong_value_is_named_with_what_is_accepted(variable, value, accepted):
    said = problem(**{variable: value})
    assert said.startswith(f"{variable} is {value!r}; it must be ")
    assert accepted in said


@pytest.mark.parametrize("there", ["KEY", "SECRET"])
def test_a_key_without_a_secret_stops_the_start_and_is_not_shown(there):
    said = problem(**{f"AGENTSPAN_AUTH_{there}": "hush"})
    assert said.startswith(f"AGENTSPAN_AUTH_{there} is set but AGENTSPAN_AUTH_")
    assert "hush" not in said


def test_switches_words_lists_and_seconds_are_read():
    settings = load(
        AGENTSPAN_ALLOW_INSECURE_BIND="Yes",
        AGENTSPAN_SQLITE_SYNCHRONOUS="normal",
        AGENTSPAN_ALLOWED_HOSTS="Agents.example, box:6767,",
        AGENTSPAN_LEASE_SECONDS="0.5",
        AGENTSPAN_LOG_LEVEL="debug",
    )
    assert settings.allow_insecure_bind is True
    assert settings.sqlite_synchronous == "NORMAL"
    assert settings.allowed_hosts == ("agents.example", "box:6767")
    assert settings.lease_seconds == 0.5
    assert settings.log_level == "DEBUG"


@pytest.mark.parametrize(
    ("platform", "environ", "folder", "source"),
    [
        ("linux", {}, "/home/ada/.local/share/agentspan", "default"),
        ("linux", {"XDG_DATA_HOME": "/data"}, "/data/agentspan", "env XDG_DATA_HOME"),
        ("linux", {"XDG_DATA_HOME": "data"}, "/home/ada/.local/share/agentspan", "default"),
        ("darwin", {}, "/home/ada/Library/Application Support/agentspan", "default"),
        ("win32", {"LOCALAPPDATA": "/local"}, "/local/agentspan", "default"),
        ("win32", {}, "/home/ada/AppData/Local/agentspan", "default"),
        ("linux", {"AGENTSPAN_DATA_DIR": "/srv/agents"}, "/srv/agents", "env AGENTSPAN_DATA_DIR"),
    ],
)
def test_the_data_folder_follows_the_platform(monkeypatch, platform, environ, folder, source):
    monkeypatch.setattr(sys, "platform", platform)
    settings = load(**environ)
    assert settings.data_dir == Path(folder)
    assert settings.sources["data_dir"] == source
    assert settings.database_url == f"sqlite:///{folder}/agentspan.db"
    assert settings.scripts_path == Path(folder, "scripts")


@pytest.mark.parametrize(
    ("given", "url"),
    [
        ("sqlite:////srv/a.db", "sqlite:////srv/a.db"),
        ("jdbc:sqlite:/srv/a.db?busy_timeout=15000&journal_mode=WAL", "sqlite:////srv/a.db"),
        ("postgresql://u:p@h:5432/db", "postgresql+psycopg://u:p@h:5432/db"),
        ("postgres://u:p@h/db?sslmode=require", "postgresql+psycopg://u:p@h/db?sslmode=require"),
        ("postgresql+psycopg://u:p@h:5432/db", "postgresql+psycopg://u:p@h:5432/db"),
        ("postgresql://postgres:@/postgres?host=/tmp/x", "postgresql+psycopg://postgres:@/postgres?host=/tmp/x"),
        ("jdbc:postgresql://h:5432/db", "postgresql+psycopg://h:5432/db"),
        ("jdbc:postgresql://h/db?user=u&password=a%40b", "postgresql+psycopg://u:a%40b@h/db"),
        ("jdbc:postgresql://h/db?ssl=true", "postgresql+psycopg://h/db?sslmode=verify-full"),
        (
            "jdbc:postgresql://h/db?currentSchema=team&ApplicationName=it",
            "postgresql+psycopg://h/db?options=-csearch_path%3Dteam&application_name=it",
        ),
    ],
)
def test_both_dialects_of_database_url_become_one(given, url):
    assert load(AGENTSPAN_DATABASE_URL=given).database_url == url
    if given.startswith("jdbc:"):
        assert load(**{JDBC: given}).database_url == url


def test_a_relative_sqlite_file_is_made_absolute(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    here = Path.cwd().as_posix()
    assert load(AGENTSPAN_DATABASE_URL="sqlite:///a.db").database_url == f"sqlite:///{here}/a.db"
    assert load(**{JDBC: "jdbc:sqlite:agent-runtime.db?x=1"}).database_url == f"sqlite:///{here}/agent-runtime.db"


def test_user_and_password_come_beside_the_url_and_are_quoted():
    settings = load(
        **{JDBC: "jdbc:postgresql://h:5432/db"}, SPRING_DATASOURCE_USERNAME="ada", SPRING_DATASOURCE_PASSWORD="p@/:x"
    )
    assert settings.database_url == "postgresql+psycopg://ada:p%40%2F%3Ax@h:5432/db"
    assert settings.sources["database_url"] == (
        "env SPRING_DATASOURCE_URL, SPRING_DATASOURCE_USERNAME, SPRING_DATASOURCE_PASSWORD"
    )


def test_the_postgres_profile_brings_its_own_defaults():
    settings = load(SPRING_PROFILES_ACTIVE="postgres")
    assert settings.database_url == "postgresql+psycopg://postgres:postgres@localhost:5432/coss"
    assert settings.sources["database_url"] == "env SPRING_PROFILES_ACTIVE"
    assert load(SPRING_PROFILES_ACTIVE="default").sources["database_url"] == "default"
    assert "because SPRING_PROFILES_ACTIVE is 'postgres'" in problem(
        SPRING_PROFILES_ACTIVE="postgres", **{JDBC: "jdbc:sqlite:a.db"}
    )


def test_the_native_database_wins_over_the_other():
    settings = load(AGENTSPAN_DATABASE_URL="sqlite:////a.db", SPRING_PROFILES_ACTIVE="postgres")
    assert settings.database_url == "sqlite:////a.db"


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://u:hush@h/db", "jdbc:sqlite:FILE"),
        ("u:hush@h/db", "jdbc:sqlite:FILE"),
        ("postgresql://u:hush@h:5432", "names a database"),
        ("postgresql://u:hu/hush@sh@h/db", "special characters"),
        ("jdbc:postgresql://h1:1,h2:2/db?password=hush", "one host"),
        ("jdbc:postgresql://h/db?password=hush&stringtype=unspecified", "'stringtype'"),
        ("sqlite:///", "on disk"),
        ("sqlite:///:memory:", "on disk"),
        ("jdbc:sqlite::memory:", "on disk"),
        ("sqlite:////a.db?mode=ro", "without parameters"),
    ],
)
def test_a_database_that_cannot_be_used_is_refused_without_its_password(url, said):
    message = problem(AGENTSPAN_DATABASE_URL=url)
    assert message.startswith("AGENTSPAN_DATABASE_URL is ")
    assert said in message
    assert "hush" not in message


def test_no_secret_is_in_the_description_or_in_the_repr():
    settings = load(
        AGENTSPAN_AUTH_KEY="hush-key",
        AGENTSPAN_AUTH_SECRET="hush-secret",
        AGENTSPAN_DATABASE_URL="postgresql://ada:hush@h/db?sslpassword=hush",
    )
    rows = {name: (value, source) for name, value, source in settings.describe()}
    assert rows["database_url"] == (
        "postgresql+psycopg://ada:***@h/db?sslpassword=***",
        "env AGENTSPAN_DATABASE_URL",
    )
    assert rows["auth_key"][0] == rows["auth_secret"][0] == "***"
    assert list(rows) == [setting.field for setting in SETTINGS]
    for text in (repr(settings), str(settings), repr(settings.__rich_repr__())):
        assert "hush" not in text


@pytest.mark.parametrize(
    ("url", "masked"),
    [
        ("sqlite:////a.db", "sqlite:////a.db"),
        ("postgresql://u@h/db", "postgresql://u@h/db"),
        ("postgresql://u:p:@/x@h/db", "postgresql://u:***@h/db"),
        ("jdbc:postgresql://h/db?user=u&password=p@q", "jdbc:postgresql://h/db?user=u&password=***"),
    ],
)
def test_masking_hides_passwords_and_nothing_else(url, masked):
    assert mask_url(url) == masked


def test_the_limits_of_providers_are_read_and_shown() -> None:
    text = "OpenAI rpm=500 tpm=200000, concurrency=50; anthropic rpm=50"
    settings = Settings.load({"AGENTSPAN_LIMITS": text})
    assert settings.limits == (
        Limit("openai", rpm=500, tpm=200_000, concurrency=50),
        Limit("anthropic", rpm=50),
    )
    shown = {name: value for name, value, _ in settings.describe()}
    assert shown["limits"] == "openai rpm=500 tpm=200000 concurrency=50; anthropic rpm=50"


@pytest.mark.parametrize("text", ["openai", "rpm=5", "openai 5", "openai rpm=0", "openai rpm=1 rpm=2", "openai rps=1"])
def test_limits_that_cannot_be_read_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationProblem, match="openai rpm=500 tpm=200000"):
        Settings.load({"AGENTSPAN_LIMITS": text})


def test_the_rate_of_requests_is_read_and_shown() -> None:
    settings = Settings.load({"AGENTSPAN_RATE_LIMIT": "600/min per key;50/s per address; 9/h per tenant"})
    assert settings.rates == (Rate(600, 60, "key"), Rate(50, 1, "address"), Rate(9, 3600, "tenant"))
    shown = {name: value for name, value, _ in settings.describe()}
    assert shown["rates"] == "600/min per key; 50/s per address; 9/h per tenant"


@pytest.mark.parametrize("text", ["600", "600/min", "0/min per key", "6/day per key", "6/min per user", "6/min by key"])
def test_a_rate_that_cannot_be_read_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationProblem, match="600/min per key"):
        Settings.load({"AGENTSPAN_RATE_LIMIT": text})


def test_the_rules_of_retention_are_read_and_shown() -> None:
    text = "completed,failed age=30d most=1000; * agent=nightly age=36h; * age=90s;"
    settings = Settings.load({"AGENTSPAN_RETENTION": text, "HOME": "/home/x"})
    assert settings.retention == (
        Rule(("COMPLETED", "FAILED"), "", 30 * 86_400_000, 1000),
        Rule((), "nightly", 36 * 3_600_000),
        Rule((), "", 90_000),
    )
    shown = {name: value for name, value, _ in settings.describe()}
    assert shown["retention"] == "COMPLETED,FAILED age=30d most=1000; * agent=nightly age=36h; * age=90s"
    assert rules(shown["retention"]) == settings.retention


WRONG_RULES = (
    "RUNNING age=1d, *, * age, * age=1y, * age=-1d, * age=1d age=2d, * most=-1, age=3d, * agent=x, * agent= age=1d,"
    " * age=9999999999d, * color=1 age=1d"
)


@pytest.mark.parametrize("text", WRONG_RULES.split(", "))
def test_rules_of_retention_that_cannot_be_read_are_refused_with_an_example(text: str) -> None:
    with pytest.raises(ConfigurationProblem, match="COMPLETED age=30d most=1000"):
        Settings.load({"AGENTSPAN_RETENTION": text, "HOME": "/home/x"})
