"""The walls of pyproject.toml hold, stand around every room, and would be seen to fall."""

import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
CONTRACTS = PROJECT["tool"]["importlinter"]["contracts"]
# As installed beside the interpreter that runs the tests.
LINT_IMPORTS = str(Path(sys.executable).parent / "lint-imports")


def lint(folder: Path, config: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [LINT_IMPORTS, "--config", str(config), "--no-cache"], cwd=folder, capture_output=True, text=True, timeout=60
    )


def test_the_walls_hold():
    done = lint(ROOT, ROOT / "pyproject.toml")
    assert done.returncode == 0, done.stdout + done.stderr


def test_every_room_has_its_wall():
    package = ROOT / "agentspan"
    rooms = {folder.name for folder in package.iterdir() if any(folder.glob("*.py"))}
    rooms |= {file.stem for file in package.glob("*.py") if not file.stem.startswith("__")}
    walled = {
        module.split(".")[1]
        for contract in CONTRACTS
        for module in contract.get("protected_modules", contract.get("source_modules", []))
        if "." in module
    }
    assert rooms <= walled, f"no contract in pyproject.toml guards {sorted(rooms - walled)}"


@pytest.mark.parametrize(
    ("importer", "line", "contract"),
    [
        ("core/a.py", "from agentspan.clock import now_ms", "clock: "),
        ("spec/a.py", "import agentspan.config", "config: "),
        ("agents/a.py", "from agentspan.core import run", "core: "),
        ("agents/a.py", "import agentspan.agents.testing", "testing: "),
        ("server/a.py", "from agentspan.core import decide", "core: "),
        ("server/a.py", "from agentspan.store import ledger", "store: "),
        ("agents/a.py", "import agentspan.engine", "engine: "),
        ("engine/a.py", "import agentspan.server", "server: "),
        ("core/a.py", "import random", "core is pure"),
        ("engine/a.py", "def f():\n    from sqlalchemy import select", "sqlalchemy in the store alone"),
        ("agents/a.py", "import httpx", "httpx in the client"),
        ("engine/a.py", "import litellm", "litellm in the engine's providers, and in a guardrail's own check"),
        ("errors.py", "from agentspan.spec import a", "errors: "),
        ("store/a.py", "import agentspan.store.reads\n", "no circle"),
    ],
)
def test_a_hole_in_a_wall_is_seen(tmp_path, importer, line, contract):
    """A house of empty rooms keeps every contract; with one wrong import it breaks the one that forbids it."""
    house = tmp_path / "agentspan"
    for each in CONTRACTS:
        for module in each.get("protected_modules", []) + each.get("allowed_importers", []):
            room = house.joinpath(*module.split(".")[1:])
            if (ROOT / f"{module.replace('.', '/')}.py").exists():
                room = room.with_suffix(".py")
                room.parent.mkdir(parents=True, exist_ok=True)
                room.touch()
            else:
                room.mkdir(parents=True, exist_ok=True)
                (room / "__init__.py").touch()
    for module in ("errors", "core/run", "core/decide", "store/ledger", "spec/a"):
        (house / f"{module}.py").touch()
    (house / "__init__.py").touch()
    (house / "store/reads.py").write_text("import agentspan.store.a\n")
    (house / "store/a.py").touch()
    (house / "server/a.py").write_text("from agentspan.store import reads\n")
    config = tmp_path / "pyproject.toml"
    config.write_text((ROOT / "pyproject.toml").read_text())
    whole = lint(tmp_path, config)
    assert whole.returncode == 0, whole.stdout + whole.stderr

    (house / importer).write_text(f"{line}\n")
    broken = lint(tmp_path, config)
    assert broken.returncode == 1, broken.stdout + broken.stderr
    assert f"\n{contract}" in broken.stdout.partition("Broken contracts")[2], broken.stdout
