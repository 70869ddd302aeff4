"""The image: its Dockerfile is linted, its steps are made, and what comes out is run as Docker would run it."""

import base64
import contextlib
import json
import os
import re
import runpy
import shutil
import socket
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import agentspan
from tests.deployment import image as images
from tests.deployment import tools

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "deployment" / "docker"
DOCKERFILE = DOCKER / "Dockerfile"
EXTRAS = re.findall(r"--extra (\w+)", (DOCKER / "lock.sh").read_text())
pytestmark = pytest.mark.xdist_group("image")
KEY, SECRET = "root", "s" * 24
MASTER_KEY = base64.b64encode(bytes(32)).decode()
CREDENTIALS = {"AGENTSPAN_AUTH_KEY": KEY, "AGENTSPAN_AUTH_SECRET": SECRET, "AGENTSPAN_MASTER_KEY": MASTER_KEY}
HEADERS = {"X-Auth-Key": KEY, "X-Auth-Secret": SECRET}
COUNTER = {
    "name": "counter",
    "model": "scripted/counter",
    "tools": [
        {
            "name": "word_count",
            "description": "Count words.",
            "toolType": "worker",
            "inputSchema": {"type": "object", "properties": {"text": {"type": "string"}}, "required": ["text"]},
        }
    ],
}
SCRIPT = [
    {"tool_calls": [{"name": "word_count", "arguments": {"text": "one two three"}}]},
    {"content": "There are {result} words."},
]
TOOLS = ROOT / "deployment" / "docker-compose" / "worker" / "tools.py"


@pytest.fixture(scope="module")
def said() -> list[tuple[str, str]]:
    return images.instructions(DOCKERFILE)


def last(said: list[tuple[str, str]], word: str) -> str:
    return [rest for each, rest in said if each == word][-1]


# What the file says


def test_the_linter_has_nothing_to_say_of_the_dockerfile() -> None:
    # DL3059 would join steps that are apart so that each has a layer of its own in the builder's cache.
    command = [tools.hadolint(), "--no-color", "--ignore", "DL3059", DOCKERFILE]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


def test_the_base_is_a_slim_one_with_its_version_and_there_are_two_stages(said: list[tuple[str, str]]) -> None:
    bases = [rest.split()[0] for word, rest in said if word == "FROM"]
    assert len(bases) == 2
    assert set(bases) == {"python:${PYTHON_VERSION}-slim-bookworm"}
    assert re.fullmatch(r"PYTHON_VERSION=3\.\d+", next(rest for word, rest in said if word == "ARG"))


def test_nothing_runs_as_root_and_signals_reach_the_command(said: list[tuple[str, str]]) -> None:
    assert last(said, "USER") == "10001:10001"
    assert last(said, "STOPSIGNAL") == "SIGTERM"
    for word in ("ENTRYPOINT", "CMD"):
        assert json.loads(last(said, word)), f"{word} is not in its exec form"
    assert "curl" not in last(said, "HEALTHCHECK")


def test_nothing_is_fetched_but_python_packages_of_which_the_content_is_known(said: list[tuple[str, str]]) -> None:
    assert not [rest for word, rest in said if word == "ADD"]
    runs = " ".join(rest for word, rest in said if word == "RUN")
    assert not re.search(r"https?://|\bgit\b|\bcurl\b|\bwget\b|\bapt", runs)
    assert '"--require-hashes"' in runs
    assert '"--no-deps", "."' in runs


def test_no_secret_has_a_place_in_a_layer(said: list[tuple[str, str]]) -> None:
    for word, rest in said:
        if word in ("ARG", "ENV"):
            assert not re.search(r"SECRET|PASSWORD|TOKEN|_KEY|DATABASE_URL", rest), rest


def test_the_image_has_the_version_of_the_package(said: list[tuple[str, str]]) -> None:
    assert ("ARG", f"VERSION={agentspan.__version__}") in said
    labels = last(said, "LABEL")
    for name in ("title", "description", "licenses", "version", "revision"):
        assert f"org.opencontainers.image.{name}=" in labels


def test_the_locked_packages_are_those_that_the_project_asks_for() -> None:
    locked = dict(re.findall(r"^([\w.-]+)==([^\s;]+)", (DOCKER / "requirements.txt").read_text(), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = list(project["dependencies"])
    for extra in EXTRAS:
        wanted += project["optional-dependencies"][extra]
    for line in wanted:
        asked = Requirement(line)
        version = locked.get(canonicalize_name(asked.name))
        assert version, f"{asked.name} is not in the image's requirements.txt: run deployment/docker/lock.sh"
        assert asked.specifier.contains(version), f"{asked.name} {version} is not {asked.specifier}: run lock.sh"


@pytest.mark.parametrize(
    "path",
    [
        ".git/config",
        ".venv/bin/python",
        ".env",
        "deployment/docker-compose/.env",
        "agentspan/.env.local",
        "agentspan/core/__pycache__/run.cpython-311.pyc",
        "tests/conftest.py",
        "agentspan.db",
    ],
)
def test_what_is_private_or_of_no_use_is_not_sent_to_the_builder(path: str) -> None:
    assert images.ignored(ROOT)(path)


@pytest.mark.parametrize("path", ["pyproject.toml", "agentspan/__init__.py", "deployment/docker/entrypoint.py"])
def test_what_the_image_is_made_of_is_sent_to_the_builder(path: str) -> None:
    assert (ROOT / path).is_file()
    assert not images.ignored(ROOT)(path)


def test_the_page_describes_every_role() -> None:
    roles = runpy.run_path(str(DOCKER / "entrypoint.py"))["ROLES"]
    text = (DOCKER / "README.md").read_text()
    assert set(roles) == {"server", "worker", "dashboard", "migrate"}
    for role in (*roles, "health"):
        assert f"| `{role}" in text


# What it does


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Iterator[images.Image]:
    if not images.is_possible():
        pytest.skip("building without an engine needs root on a Linux that may mount overlays")
    folder = tmp_path_factory.mktemp("image")
    with images.built(DOCKERFILE, ROOT, folder, tools.uv()) as made:
        yield made


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """An empty volume, which is the image's user's."""
    volume = owned(tmp_path / "volume")
    (volume / "scripts").mkdir()
    (volume / "scripts" / "counter.json").write_text(json.dumps({"counter": SCRIPT}))
    return volume


@pytest.fixture
def tool_data(tmp_path: Path) -> Path:
    """A volume with the tools of the example."""
    volume = owned(tmp_path / "tools")
    shutil.copy(TOOLS, volume)
    return volume


def owned(volume: Path) -> Path:
    volume.mkdir()
    os.chown(volume, 10001, 10001)
    volume.chmod(0o700)
    return volume


@pytest.fixture
def port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return str(taken.getsockname()[1])


def test_server_and_worker_run_an_agent_with_a_tool_and_drain_on_sigterm(
    image: images.Image, data: Path, tool_data: Path, port: str
) -> None:
    url = f"http://127.0.0.1:{port}"
    environ = {**CREDENTIALS, "AGENTSPAN_PORT": port}
    with contextlib.ExitStack() as running:
        server = image.container(data, **environ)
        ended = running.enter_context(images.stopped(server, image))
        assert json.loads(images.wait_until_healthy(image, server, **environ))["status"] == "UP"
        make = ("agentspan", "keys", "create", "tools", "--scopes", "work", "-o", "id")
        key, _ = image.container(data, *make, **environ).communicate(timeout=60)
        worker = image.container(tool_data, "worker", "tools", AGENTSPAN_SERVER_URL=url, AGENTSPAN_API_KEY=key.strip())
        worker_ended = running.enter_context(images.stopped(worker, image))
        with httpx.Client(base_url=url, headers=HEADERS, trust_env=False, timeout=70) as http:
            started = http.post("/api/agent/start", json={"agentConfig": COUNTER, "prompt": "Count."})
            assert started.status_code == 200, started.text
            path = f"/api/agent/{started.json()['executionId']}/status"
            status = http.get(path, params={"waitMs": 60_000}).json()
            assert (status["status"], status["output"]["result"]) == ("COMPLETED", "There are 3 words."), status
            assert httpx.get(f"{url}/api/agent/executions", trust_env=False).status_code == 401
    for exit_code, output in (ended, worker_ended):
        assert exit_code == 0, output
        assert SECRET not in output
    assert "draining" in ended[1]
    assert image.ask_health(**environ).returncode == 1


def test_the_role_dashboard_shows_pages_and_leaves_the_work_to_others(
    image: images.Image, data: Path, port: str
) -> None:
    # Pages are not built here: that takes long, and is shown elsewhere.
    environ = {**CREDENTIALS, "AGENTSPAN_PORT": port, "AGENTSPAN_UI_WARM": "false"}
    dashboard = image.container(data, "dashboard", **environ)
    with images.stopped(dashboard, image):
        images.wait_until_healthy(image, dashboard, **environ)
        page = httpx.get(f"http://127.0.0.1:{port}/ui/", trust_env=False, headers={"Accept": "text/html"})
        assert page.is_redirect
        assert "/login?" in page.headers["Location"]


def test_the_file_system_is_read_only_and_nobody_in_it_is_root(image: images.Image, data: Path) -> None:
    script = (
        "id -u; for place in / /opt/agentspan /usr/local/bin /etc /data /tmp; do touch $place/x && echo $place; done"
    )
    look = image.container(data, "sh", "-c", script)
    output, _ = look.communicate(timeout=60)
    assert [line for line in output.splitlines() if not line.startswith("touch")] == ["10001", "/data", "/tmp"]


def test_without_a_secret_the_server_does_not_start_and_says_what_to_set(image: images.Image, data: Path) -> None:
    server = image.container(data)
    output, _ = server.communicate(timeout=60)
    assert server.returncode == 1
    assert "AGENTSPAN_AUTH_SECRET" in output
    assert "Traceback" not in output


def test_the_role_migrate_brings_the_schema_and_ends(image: images.Image, data: Path) -> None:
    migrate = image.container(data, "migrate")
    output, _ = migrate.communicate(timeout=60)
    assert migrate.returncode == 0, output
    assert (data / "agentspan.db").exists()


def test_any_other_word_is_a_command(image: images.Image, data: Path) -> None:
    version = image.container(data, "agentspan", "--version")
    assert version.communicate(timeout=60)[0].strip() == agentspan.__version__
    unknown = image.container(data, "sever")
    output, _ = unknown.communicate(timeout=60)
    assert unknown.returncode == 127
    assert "'sever'" in output
    assert "server, worker, dashboard, migrate" in output
