"""Writes into the pages what is derived: the state diagram, the settings, the metrics, a worker, the routes that
answer 501.

`python docs/draw.py` writes, `--check` only says whether something is out of date (exit code 1).
"""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from typer.main import get_command

from agentspan.cli import profiles
from agentspan.cli.codes import MEANINGS
from agentspan.cli.main import app
from agentspan.config import SETTINGS, Settings
from agentspan.core.states import ENDED, STEPS
from agentspan.server import metrics
from agentspan.server.openapi import unbuilt_table

DOCS = Path(__file__).parent


def states() -> str:
    """The statuses of an execution as a Mermaid diagram."""
    lines = ["```mermaid", "stateDiagram-v2", "    [*] --> RUNNING"]
    lines += [f"    {state} --> {after}" for state, steps in STEPS.items() for after in sorted(steps)]
    lines += [f"    {state} --> [*]" for state in sorted(ENDED)]
    return "\n".join([*lines, "```"])


def settings() -> str:
    """Every setting with its names, its default and what it accepts."""
    defaults = {name: value for name, value, _ in Settings.load({"AGENTSPAN_DATA_DIR": "/data"}).describe()}
    rows = ["| setting | option and variables | default | accepts |", "|---|---|---|---|"]
    for setting in SETTINGS:
        names = ", ".join(f"`{name}`" for name in setting.names)
        default = DERIVED.get(setting.field, f"`{defaults[setting.field]}`")
        rows.append(f"| {setting.field} | {names} | {default} | {setting.accepts} |")
    return "\n".join(rows)


def worker() -> str:
    """The worker that the tests run."""
    source = DOCS.parent / "tests" / "acceptance" / "foreign" / "plain_worker.py"
    return f"```python\n{source.read_text(encoding='utf-8').strip()}\n```"


def commands() -> str:
    """Every command of the command line, with what it does."""
    rows = ["| command | what it does |", "|---|---|"]
    for path, command in _walked(get_command(app), "agentspan"):
        if not hasattr(command, "commands") and not command.hidden:
            given = [_argument(each) for each in command.params if each.param_type_name == "argument"]
            about = command.help.partition("\n\n")[0].replace("\n", " ").replace("|", "\\|")
            rows.append(f"| `{' '.join([path, *given])}` | {about} |")
    return "\n".join(rows)


def _argument(argument: Any) -> str:
    """An argument as a usage line shows it."""
    name = (argument.metavar or argument.name.upper()).strip("[].") + ("..." if argument.nargs == -1 else "")
    return name if argument.required else f"[{name}]"


def _walked(command: Any, path: str) -> Iterator[tuple[str, Any]]:
    """A command and all below it."""
    yield path, command
    for name, each in getattr(command, "commands", {}).items():
        yield from _walked(each, f"{path} {name}")


def exit_codes() -> str:
    """What a command's end says."""
    rows = (f"| {code} | {what} |" for code, what in MEANINGS.items())
    return "\n".join(["| code | what it says |", "|---|---|", *rows])


def profile_settings() -> str:
    """What a profile may hold."""
    rows = (f"| {name} | `{key.variable}` | {key.about} |" for name, key in profiles.KEYS.items())
    return "\n".join(["| setting | variable | what it is |", "|---|---|---|", *rows])


DERIVED = {
    "data_dir": "the user's data folder",
    "database_url": "`agentspan.db` in the data folder",
    "scripts_path": "`scripts` in the data folder",
}

BLOCKS = {
    ("cli.md", "commands"): commands,
    ("cli.md", "exits"): exit_codes,
    ("cli.md", "profiles"): profile_settings,
    ("architecture.md", "states"): states,
    ("configuration.md", "settings"): settings,
    ("operations.md", "metrics"): metrics.table,
    ("protocol.md", "worker"): worker,
    ("protocol.md", "unbuilt"): unbuilt_table,
}


def main(check: bool) -> int:
    stale = []
    for (page, name), draw in BLOCKS.items():
        path = DOCS / page
        text = path.read_text(encoding="utf-8")
        before, start, rest = text.partition(f"<!-- {name} -->\n")
        _, end, after = rest.partition(f"<!-- /{name} -->")
        if not (start and end):
            raise SystemExit(f"docs/{page} has no place for {name}")
        fresh = f"{before}{start}{draw()}\n{end}{after}"
        if fresh != text:
            stale.append(f"docs/{page}")
        if not check:
            path.write_text(fresh, encoding="utf-8")
    if check and stale:
        print(f"out of date: {', '.join(stale)}; run python docs/draw.py", file=sys.stderr)
    return int(check and bool(stale))


if __name__ == "__main__":
    sys.exit(main("--check" in sys.argv))
