"""The Compose file: valid by the specification, and safe in what it publishes, mounts and asks for."""

import json
import re
import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

import agentspan
from agentspan.agents.discovery import discover_served
from agentspan.agents.tool import get_tool_defs
from agentspan.config import SETTINGS, Settings
from agentspan.server import health, routes
from tests.deployment import tools

pytestmark = pytest.mark.xdist_group("deployment")

FOLDER = Path(__file__).parents[2] / "deployment" / "docker-compose"
FILE = FOLDER / "compose.yaml"
REQUIRED = ("AGENTSPAN_AUTH_SECRET", "AGENTSPAN_MASTER_KEY", "POSTGRES_PASSWORD")
FILLED = dict.fromkeys(REQUIRED, "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
OURS = ("agentspan", "migrate", "worker", "sqlite")
Json = dict[str, Any]


class Missing(Exception):
    """What Compose stops with."""


def example() -> dict[str, str]:
    """The variables of .env.example, as they are."""
    lines = (FOLDER / ".env.example").read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def loaded(**environ: str) -> Json:
    """The file as Compose reads it with the example's .env and what else is set."""
    values = {**example(), **environ}
    content: Json = _walked(yaml.safe_load(FILE.read_text()), values)
    for service in content["services"].values():
        if (given := service.get("environment")) is not None:
            # A name without a value is passed on if there is one.
            service["environment"] = {
                name: values.get(name) if value is None else value
                for name, value in given.items()
                if value is not None or values.get(name) is not None
            }
    return content


def _walked(node: Any, values: dict[str, str]) -> Any:
    if isinstance(node, dict):
        return {key: _walked(each, values) for key, each in node.items()}
    if isinstance(node, list):
        return [_walked(each, values) for each in node]
    return interpolated(node, values) if isinstance(node, str) else node


def interpolated(text: str, values: dict[str, str]) -> str:
    """`$$`, `$NAME`, `${NAME}`, `${NAME:-default}` and `${NAME:?sentence}`, one within another."""
    start = text.find("$")
    if start < 0:
        return text
    before, rest = text[:start], text[start + 1 :]
    if rest.startswith("$"):
        return f"{before}${interpolated(rest[1:], values)}"
    if not rest.startswith("{"):
        name = re.match(r"\w+", rest)[0]  # type: ignore[index]
        return before + values.get(name, "") + interpolated(rest[len(name) :], values)
    depth, end = 1, 1
    while depth:
        depth += {"{": 1, "}": -1}.get(rest[end], 0)
        end += 1
    name, operator, other = re.fullmatch(r"(\w+)(:-|:\?|)(.*)", rest[1 : end - 1]).groups()  # type: ignore[union-attr]
    if values.get(name):
        value = values[name]
    elif operator == ":?":
        raise Missing(f"required variable {name} is missing a value: {other}")
    else:
        value = interpolated(other, values)
    return before + value + interpolated(rest[end:], values)


@pytest.fixture(scope="module")
def compose() -> Json:
    return loaded(**FILLED)


@pytest.fixture(scope="module")
def services(compose: Json) -> dict[str, Json]:
    found: dict[str, Json] = compose["services"]
    return found


def test_the_file_is_what_the_specification_describes(compose: Json, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(tools.compose_models()))
    from compose_viz.spec.compose_spec import ComposeSpecification

    known = {name: value for name, value in compose.items() if not name.startswith("x-")}
    ComposeSpecification.model_validate(known)
    wrong = json.loads(json.dumps(known))
    wrong["services"]["agentspan"]["prots"] = []
    with pytest.raises(ValueError, match="prots"):
        ComposeSpecification.model_validate(wrong)


@pytest.mark.parametrize("name", REQUIRED)
def test_a_secret_that_is_missing_stops_the_start_with_a_sentence(name: str) -> None:
    with pytest.raises(Missing, match=rf"required variable {name} .*: Set {name} in \.env.* openssl rand -base64 32"):
        loaded(**{**FILLED, name: ""})


def test_the_example_sets_no_secret_itself() -> None:
    assert [name for name in REQUIRED if example()[name] == ""] == list(REQUIRED)
    assert (FOLDER / ".gitignore").read_text().split() == [".env"]


def test_by_itself_it_starts_the_server_and_postgres(services: dict[str, Json]) -> None:
    assert [name for name, service in services.items() if "profiles" not in service] == [
        "agentspan",
        "migrate",
        "postgres",
    ]
    assert services["postgres"]["image"] == "postgres:16"
    assert services["agentspan"]["image"] == f"agentspan:{agentspan.__version__}"


def test_profiles_bring_workers_sqlite_and_what_watches(services: dict[str, Json]) -> None:
    profiles = {name: service["profiles"] for name, service in services.items() if "profiles" in service}
    assert profiles == {
        "worker": ["worker"],
        "sqlite": ["sqlite"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }


def test_the_database_is_published_nowhere_and_reached_by_ours_alone(compose: Json, services: dict[str, Json]) -> None:
    postgres = services["postgres"]
    assert "ports" not in postgres
    assert postgres["networks"] == ["back"]
    assert compose["networks"]["back"]["internal"] is True
    assert {name for name, service in services.items() if "back" in service["networks"]} == {
        "agentspan",
        "migrate",
        "postgres",
    }


def test_the_server_is_published_on_loopback_until_told_otherwise(services: dict[str, Json]) -> None:
    assert services["agentspan"]["ports"] == ["127.0.0.1:6767:6767"]
    other = loaded(**FILLED, AGENTSPAN_BIND="0.0.0.0", AGENTSPAN_PORT="8080")["services"]
    assert other["agentspan"]["ports"] == ["0.0.0.0:8080:6767"]
    assert "AGENTSPAN_PORT" not in other["agentspan"]["environment"]


def test_another_user_database_and_password_reach_both_sides() -> None:
    password = "p@ss/w:rd+='$"
    services = loaded(**{**FILLED, "POSTGRES_PASSWORD": password, "POSTGRES_USER": "someone", "POSTGRES_DB": "runs"})[
        "services"
    ]
    assert services["postgres"]["environment"] == {
        "POSTGRES_DB": "runs",
        "POSTGRES_USER": "someone",
        "POSTGRES_PASSWORD": password,
    }
    for name in ("agentspan", "migrate"):
        url = Settings.load({"HOME": "/data", **services[name]["environment"]}).database_url
        assert url == "postgresql+psycopg://someone:p%40ss%2Fw%3Ard%2B%3D%27%24@postgres:5432/runs"


def test_a_database_elsewhere_wins() -> None:
    elsewhere = "postgresql://me@db.example.org/runs"
    services = loaded(**FILLED, AGENTSPAN_DATABASE_URL=elsewhere)["services"]
    for name in ("agentspan", "migrate"):
        settings = Settings.load({"HOME": "/data", **services[name]["environment"]})
        assert settings.database_url == "postgresql+psycopg://me@db.example.org/runs"


def test_every_variable_of_a_server_is_a_setting_or_a_providers(services: dict[str, Json]) -> None:
    known = {name for setting in SETTINGS for name in setting.names}
    known |= {"SPRING_DATASOURCE_URL", "SPRING_DATASOURCE_USERNAME", "SPRING_DATASOURCE_PASSWORD"}
    for name in ("agentspan", "migrate", "sqlite"):
        unknown = set(services[name]["environment"]) - known
        assert not {each for each in unknown if not each.endswith("_API_KEY")}
        Settings.load({"HOME": "/data", **services[name]["environment"]})


def test_a_key_of_a_provider_is_passed_on_if_there_is_one(services: dict[str, Json]) -> None:
    assert "OPENAI_API_KEY" not in services["agentspan"]["environment"]
    environment = loaded(**FILLED, OPENAI_API_KEY="sk-1")["services"]["agentspan"]["environment"]
    assert environment["OPENAI_API_KEY"] == "sk-1"


@pytest.mark.parametrize("name", OURS)
def test_our_containers_may_do_nothing_that_they_need_not(services: dict[str, Json], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    assert not [volume for volume in service.get("volumes", []) if "docker.sock" in volume]


def test_who_needs_another_waits_until_it_is_well(services: dict[str, Json]) -> None:
    depends = services["agentspan"]["depends_on"]
    assert depends["postgres"]["condition"] == "service_healthy"
    assert depends["migrate"]["condition"] == "service_completed_successfully"
    assert services["migrate"]["depends_on"]["postgres"]["condition"] == "service_healthy"
    assert services["worker"]["depends_on"]["agentspan"]["condition"] == "service_healthy"
    for name in ("agentspan", "postgres", "sqlite"):
        assert services[name]["healthcheck"]["test"]
    assert "/actuator/health" in {route.path for route in routes.collect(health.ROUTES)}


def test_there_is_time_to_drain(services: dict[str, Json]) -> None:
    for name in ("agentspan", "sqlite"):
        grace = float(services[name]["stop_grace_period"].removesuffix("s"))
        drain = Settings.load({"HOME": "/data", **services[name]["environment"]}).drain_seconds
        assert grace > drain
    words = services["worker"]["command"]
    assert float(services["worker"]["stop_grace_period"].removesuffix("s")) > float(words[words.index("--grace") + 1])


def test_data_lasts_in_named_volumes_that_only_down_v_removes(compose: Json, services: dict[str, Json]) -> None:
    assert set(compose["volumes"]) == {"data", "postgres", "prometheus", "grafana"}
    assert services["postgres"]["volumes"] == ["postgres:/var/lib/postgresql/data"]
    assert services["agentspan"]["volumes"] == ["data:/data"]


def test_a_worker_can_be_scaled_and_brings_its_tools(
    services: dict[str, Json], monkeypatch: pytest.MonkeyPatch
) -> None:
    worker = services["worker"]
    assert not {"container_name", "ports", "hostname"} & set(worker)
    assert worker["environment"]["AGENTSPAN_API_KEY"] == f"agentspan:{FILLED['AGENTSPAN_AUTH_SECRET']}"
    assert worker["volumes"] == ["./worker:/worker:ro"]
    module = worker["command"][1]
    monkeypatch.syspath_prepend(str(FOLDER / "worker"))
    try:
        (agent,) = discover_served([module])
    finally:
        sys.modules.pop(module)
    assert [each.name for each in get_tool_defs(agent.tools)] == ["word_count"]


def test_every_file_that_is_mounted_is_there(services: dict[str, Json]) -> None:
    for service in services.values():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith("."):
                assert (FOLDER / source).exists(), source


def test_prometheus_asks_the_server_by_its_name_with_the_secret_that_it_is_given(
    compose: Json, services: dict[str, Json]
) -> None:
    told = yaml.safe_load((FOLDER / "../observability/prometheus.yml").read_text())
    (job,) = told["scrape_configs"]
    (secret,) = services["prometheus"]["secrets"]
    assert job["authorization"] == {"type": "Bearer", "credentials_file": f"/run/secrets/{secret['target']}"}
    assert compose["secrets"][secret["source"]] == {"environment": "AGENTSPAN_AUTH_SECRET"}
    assert job["dns_sd_configs"][0]["names"] == ["agentspan"]
    assert services["sqlite"]["networks"]["front"]["aliases"] == ["agentspan"]


def test_the_readme_says_nothing_of_services_and_variables_that_are_not_there(services: dict[str, Json]) -> None:
    text = (FOLDER / "README.md").read_text()
    commands = [shlex.split(line) for line in re.findall(r"^docker compose (.*)$", text, re.MULTILINE)]
    assert ["up", "-d"] in commands
    assert ["up", "-d", "--scale", "worker=4", "worker"] in commands
    file = FILE.read_text()
    for name in re.findall(r"`([A-Z][A-Z_]{5,})[`=]", text):
        assert name in file or name in {each for setting in SETTINGS for each in setting.names}, name
