"""What a notebook remembers of its runs over a restart of its kernel: which was the last, which cell began it.

After a restart the tools are defined by running their cells again; `attach` and `last` then serve the run's tools from
this kernel, as soon as its agent is defined here, so that what waited for them goes on.
"""

import hashlib
import json
import logging
import os
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from IPython import get_ipython

from agentspan.agents.agent import Agent
from agentspan.agents.default import default_runtime
from agentspan.agents.handle import ENDED, AgentHandle
from agentspan.agents.runtime.runtime import AgentRuntime
from agentspan.client.launch import data_folder
from agentspan.errors import NotFound

Json = dict[str, Any]

log = logging.getLogger("agentspan.notebook")


def attach(execution_id: str, agent: Any = None, *, runtime: AgentRuntime | None = None) -> AgentHandle:
    """Take up a run: its handle. This kernel serves its tools from now on, by `agent` or by the agent of its name that
    is defined in this notebook; if there is none yet, as soon as its cell is run."""
    runtime = runtime or default_runtime()
    run = runtime.portal.call(_summary(runtime, execution_id))
    name, status = str(run.get("agentName") or ""), str(run.get("status") or "")
    found = agent if agent is not None else defined(name)
    if status in ENDED:
        return runtime.attach(execution_id, output_type=getattr(found, "output_type", None))
    if found is not None:
        return runtime.resume(execution_id, found)
    _await(execution_id, name, runtime)
    told = f"the agent {name!r} is not defined here yet: run its cell, and this kernel serves the tools of the run"
    print(f"agentspan: {told}", file=sys.stderr)
    return runtime.attach(execution_id)


def last(agent: Any = None, *, runtime: AgentRuntime | None = None) -> AgentHandle:
    """The run that this notebook started last, also before its kernel was restarted; see `attach`."""
    runtime = runtime or default_runtime()
    found = recalled(runtime)
    if not found:
        raise NotFound("this notebook has started no run yet; `runs()` lists those of the server")
    return attach(found, agent, runtime=runtime)


def resume_cells(on: bool = True, *, salt: str = "") -> None:
    """Let a cell that is run again go on with the run that it started before, instead of starting another: "Run All"
    after a restart resumes. It is another run if the agent, the prompt, the cell or `salt` is another.

    `resume_cells(False)` starts anew again from now on.
    """
    shell = get_ipython()
    if shell is None:
        raise NotFound("resume_cells() needs a notebook: there are no cells here")
    if not _cells.is_on and on:
        shell.events.register("pre_run_cell", _cells.enter)
    elif _cells.is_on and not on:
        shell.events.unregister("pre_run_cell", _cells.enter)
    _cells.is_on, _cells.salt = on, salt
    _cells.id = _present_cell(shell)
    _cells.begun.clear()


def key_of(definition: Json, prompt: str) -> str:
    """The idempotency key of a run that the present cell starts; "" if cells are not resumed."""
    if not _cells.is_on:
        return ""
    config = json.dumps(definition, sort_keys=True, default=str)
    what = _digest(notebook(), _cells.id, _cells.salt, config, prompt)
    _cells.begun[what] += 1
    return f"cell:{what}:{_cells.begun[what]}"


def remember(handle: AgentHandle) -> None:
    """Keep which run was started last."""
    record = {"executionId": handle.execution_id, "notebook": notebook()}
    try:
        path = _path(_url(handle.runtime))
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        fresh = path.with_suffix(f".{os.getpid()}")
        fresh.write_text(json.dumps(record), encoding="utf-8")
        fresh.replace(path)
    except OSError as problem:  # the run matters more than finding it again by last()
        log.warning("last() will not know the run %s: %s", handle.execution_id, problem)


def recalled(runtime: AgentRuntime) -> str:
    """The id of the run that was started last here; "" if there is none."""
    try:
        return str(json.loads(_path(_url(runtime)).read_text(encoding="utf-8"))["executionId"])
    except (FileNotFoundError, ValueError, KeyError):
        return ""


def defined(name: str) -> Agent | None:
    """The agent of that name among the notebook's variables."""
    shell = get_ipython()
    space = shell.user_ns if shell is not None else {}
    found = [each for each in space.values() if isinstance(each, Agent) and each.name == name]
    return found[-1] if found else None


def notebook() -> str:
    """Which notebook this is, as far as a kernel can know."""
    shell = get_ipython()
    given = shell.user_ns.get("__vsc_ipynb_file__") if shell is not None else None
    return str(given or os.environ.get("JPY_SESSION_NAME") or os.getcwd())


# Parts


@dataclass
class _Cells:
    """The cell that runs, and what it has begun so far."""

    is_on: bool = False
    salt: str = ""
    id: str = ""
    begun: "Counter[str]" = field(default_factory=Counter)

    def enter(self, info: Any) -> None:
        """A cell begins."""
        self.id = str(getattr(info, "cell_id", None) or _digest(info.raw_cell))
        self.begun.clear()


def _present_cell(shell: Any) -> str:
    parent = shell.get_parent() if hasattr(shell, "get_parent") else {}
    source = (parent.get("content") or {}).get("code") or ""
    return str((parent.get("metadata") or {}).get("cellId") or _digest(source))


def _await(execution_id: str, name: str, runtime: AgentRuntime) -> None:
    """Serve the run's tools after the cell that defines its agent."""
    events = get_ipython().events

    def look(*_: Any) -> None:
        if (found := defined(name)) is None:
            return
        events.unregister("post_run_cell", look)
        runtime.resume(execution_id, found)

    events.register("post_run_cell", look)


async def _summary(runtime: AgentRuntime, execution_id: str) -> Json:
    return await (await runtime.client()).execution(execution_id)


def _url(runtime: Any) -> str:
    """The server's address; of a client that is there already, since a handle has been made by it."""
    return str(runtime.config.server_url)


def _path(url: str) -> Path:
    return data_folder() / "notebooks" / f"{_digest(url, notebook())}.json"


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:32]


_cells = _Cells()
