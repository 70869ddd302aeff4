"""The command line is quick, tells its version, and says what is missing in one sentence."""

import subprocess
import sys

from typer.main import get_command

import agentspan as package
from agentspan.cli.main import app
from tests.cli.running import agentspan, environment


def test_the_version_is_told(folder):
    assert agentspan("--version", folder=folder).stdout == f"{package.__version__}\n"


def test_it_is_also_run_as_a_module(folder):
    for module in ("agentspan", "agentspan.cli"):
        done = subprocess.run(
            [sys.executable, "-m", module, "--version"], env=environment(folder), capture_output=True, text=True
        )
        assert done.stdout == f"{package.__version__}\n"


def test_every_command_says_what_it_does():
    commands = list(walked(get_command(app)))
    assert len(commands) > 80
    assert [path for path, command in commands if not command.help or not command.help.rstrip().endswith(".")] == []
    assert [path for path, command in commands for each in command.params if not getattr(each, "help", "")] == []


def walked(command, path="agentspan"):
    """Every command with its path."""
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from walked(each, f"{path} {name}")


def test_help_needs_no_server_database_or_model(folder):
    code = """
import sys
from agentspan.cli.main import app
try:
    app(["--help"])
except SystemExit:
    pass
heavy = {"tornado", "sqlalchemy", "litellm", "panel", "httpx", "pydantic", "asyncio"} & sys.modules.keys()
assert not heavy, heavy
ours = [name for name in sys.modules if name.startswith("agentspan.") and not name.startswith("agentspan.cli")]
assert len(ours) < 8, ours
assert len(sys.modules) < 600, len(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], env=environment(folder), check=True, capture_output=True, timeout=60)


def without(module, code, folder):
    """Run code where a module is not installed."""
    hide = f"import sys\nsys.modules[{module!r}] = None\n"
    return subprocess.run(
        [sys.executable, "-c", hide + code], env=environment(folder), capture_output=True, text=True, timeout=60
    )


def test_a_missing_extra_is_one_sentence(folder):
    for arguments in (["server", "start", "--foreground"], ["server", "start"], ["db", "upgrade"]):
        code = f"import sys\nsys.argv = ['agentspan', *{arguments}]\nfrom agentspan.cli.main import main\nmain()"
        done = without("tornado" if "db" not in arguments else "sqlalchemy", code, folder)
        assert done.returncode == 1
        assert 'pip install "agentspan[server]"' in done.stderr, (arguments, done.stderr)
        assert done.stderr.count("\n") == 1, done.stderr


def test_an_unknown_local_model_is_one_sentence(folder):
    done = agentspan("model", "pull", "gpt-17", folder=folder)
    assert done.returncode == 2
    assert "smollm2" in done.stderr
    assert done.stderr.count("\n") == 1


def test_an_unknown_command_is_a_usage_error(folder):
    assert agentspan("sing", folder=folder).returncode == 2


def test_a_password_is_no_argument(folder):
    url = "postgresql://kim:s3cret@127.0.0.1:9/runs"
    for command in (["server", "start", "--database", url], ["db", "check", "--database", url]):
        done = agentspan(*command, folder=folder)
        assert done.returncode == 2
        assert "AGENTSPAN_DATABASE_URL" in done.stderr
        assert "s3cret" not in done.stderr
