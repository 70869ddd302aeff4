"""Writes into the pages what is derived: the state diagram, the settings, the metrics, a worker, the routes that
answer 501.

`python docs/draw.py` writes, `--check` only says whether something is out of date (exit code 1).
"""

import sys
from pathlib import Path

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


DERIVED = {
    "data_dir": "the user's data folder",
    "database_url": "`agentspan.db` in the data folder",
    "scripts_path": "`scripts` in the data folder",
}

BLOCKS = {
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
