"""What the documents point at is there: links, their headings, and the files and targets that they name."""

import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

import agentspan
from agentspan.agents import Agent, AgentResult, AgentRuntime, shutdown
from agentspan.core.states import Kind, Purpose
from tests.acceptance.provider import Asked, Reply, providing
from tests.agents.serving import ServerProcess

ROOT = Path(__file__).parents[2]
PAGES = sorted(
    page
    for pattern in ("*.md", "docs/**/*.md", "deployment/**/*.md", "notebooks/**/*.md", "benchmarks/**/*.md")
    for page in ROOT.glob(pattern)
)
FENCE = re.compile(r"^```.*?^```", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"!?\[[^\]]*\]\(<?([^)\s>]+)>?(?:\s+\"[^\"]*\")?\)")
CODE = re.compile(r"`([^`\n]+)`")
# `docs/failures.md`, `agentspan/core/`: a path from the root of the project, with a known folder or file before it.
NAMED = re.compile(r"(?:agentspan|apps|benchmarks|deployment|docs|notebooks|tests|\.ci)/[\w./-]*|[A-Z]{4,}\.md")
MAKE = re.compile(r"\bmake ([a-z]+)\b")


def prose(page: Path) -> str:
    return FENCE.sub("", page.read_text(encoding="utf-8"))


def anchors(page: Path) -> set[str]:
    """The names that the headings of a page have on GitHub."""
    headings = re.findall(r"^#+ (.+?)\s*#*$", prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_what_a_page_points_at_is_there(page):
    missing = []
    for target in LINK.findall(CODE.sub("", prose(page))):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (page.parent / file).resolve() if file else page
        if not there.exists() or (anchor and there.suffix == ".md" and anchor not in anchors(there)):
            missing.append(target)
    for code in CODE.findall(prose(page)):
        if NAMED.fullmatch(code) and not (ROOT / code).exists():
            missing.append(code)
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    missing += [
        f"make {name}" for code in CODE.findall(prose(page)) for name in MAKE.findall(code) if name not in targets
    ]
    assert not missing, f"{page.relative_to(ROOT)} points at what is not there: {missing}"


def test_every_test_that_a_page_names_is_there():
    named = {name for page in PAGES for name in re.findall(r"`(test_\w+)`", page.read_text(encoding="utf-8"))}
    source = "".join(file.read_text(encoding="utf-8") for file in ROOT.glob("tests/**/test_*.py"))
    assert named
    assert sorted(name for name in named if f"def {name}(" not in source) == []


def test_the_pages_that_a_reader_looks_for_exist():
    assert {"README.md", "CHANGELOG.md", "CONTRIBUTING.md"} <= {page.name for page in PAGES}


def test_the_version_is_the_newest_of_the_changelog():
    newest = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert newest
    assert newest[1] == agentspan.__version__ == project["version"]


def test_what_is_derived_from_the_code_is_up_to_date():
    done = subprocess.run([sys.executable, ROOT / "docs" / "draw.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_the_table_of_kinds_and_purposes_has_them_all():
    page = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    part = page.split("## Kind and purpose")[1].partition("\n## ")[0]
    head, _, *rows = [line.strip("| ").split(" | ") for line in part.splitlines() if line.startswith("|")]
    assert (head[1:], [row[0] for row in rows]) == (list(Kind), list(Purpose))


def examples(page: Path) -> Iterator[tuple[int, str]]:
    """The Python of a page: the line before it, and the text."""
    text = page.read_text(encoding="utf-8")
    for block in PYTHON.finditer(text):
        yield text.count("\n", 0, block.start()) + 1, block[1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_are_python(page):
    for line, source in examples(page):
        compile("\n" * line + source, str(page), "exec")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    """A server whose models say what suits the question."""
    with providing(reply) as provider:
        keys = {"OPENAI_API_KEY": "a-key", "ANTHROPIC_API_KEY": "a-key", "OPENAI_API_BASE": provider.url}
        server = ServerProcess(tmp_path_factory.mktemp("server"), **keys)
        server.start()
        yield server
        server.stop()


def reply(asked: Asked) -> Reply:
    said = str(asked.messages[-1]["content"])
    # Long enough for an example to tell the run something meanwhile.
    return Reply("Fine.", seconds=2 if said == "Find something about tides." else 0)


@pytest.mark.parametrize("page", ["README.md", "docs/agents.md", "docs/deployed.md"])
def test_the_examples_of_a_page_run_in_their_order(page, server, monkeypatch, capsys):
    monkeypatch.setenv("AGENTSPAN_SERVER_URL", server.url)
    with AgentRuntime() as runtime:
        names = {"__name__": "examples", "runtime": runtime}
        exec(GIVEN.get(page, ""), names)
        for line, source in examples(ROOT / page):
            exec(compile("\n" * line + source, page, "exec"), names)
        assert [each.error for each in names.values() if isinstance(each, AgentResult) and each.is_failed] == []
        assert "FAILED" not in capsys.readouterr().out
    with AgentRuntime() as runtime:
        agents = [each for each in names.values() if isinstance(each, Agent)]
        assert agents
        assert [runtime.plan(each)["workflowDef"]["name"] for each in agents] == [each.name for each in agents]
    shutdown()


PYTHON = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)

GIVEN = {
    "docs/deployed.md": """
from agentspan.agents import *
from agentspan.agents import schedules

model = "openai/gpt-4o-mini"
agent = Agent("herald", model, "You announce.")
runtime.deploy(agent)
agent.instructions = "You announce loudly."
"""
}
"""What a page takes for granted."""
