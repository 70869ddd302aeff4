"""The command line is quick, tells its version, and says what is missing in one sentence."""

import subprocess
import sys

import agentspan as package
from tests.cli.running import agentspan, environment


def test_the_version_is_told(folder):
    assert agentspan("--version", folder=folder).stdout == f"{package.__version__}\n"


def test_help_needs_no_server_database_or_model(folder):
    code = """
import sys
from agentspan.cli.main import app
try:
    app(["--help"])
except SystemExit:
    pass
heavy = {"tornado", "sqlalchemy", "litellm", "panel", "httpx"} & sys.modules.keys()
assert not heavy, heavy
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
