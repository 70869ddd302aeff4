"""A run as an executable notebook: what happened, the agent as code, and the run played again, without a server."""

from pathlib import Path

from agentspan.agents.default import default_runtime
from agentspan.agents.handle import AgentHandle
from agentspan.agents.result import AgentResult
from agentspan.agents.runtime import AgentRuntime


async def export_notebook_async(
    run: str | AgentHandle | AgentResult, path: str | Path | None = None, *, runtime: AgentRuntime | None = None
) -> Path:
    """Write a run (its id, handle or result) as a notebook; gives its path, `run-ID.ipynb` if none is given."""
    execution_id = run if isinstance(run, str) else run.execution_id
    return await (runtime or default_runtime()).export_async(execution_id, _target(execution_id, path))


def export_notebook(
    run: str | AgentHandle | AgentResult, path: str | Path | None = None, *, runtime: AgentRuntime | None = None
) -> Path:
    """See `export_notebook_async`."""
    host = runtime or default_runtime()
    return host.portal.call(export_notebook_async(run, path, runtime=host))


def _target(execution_id: str, path: str | Path | None) -> Path:
    target = Path(path if path is not None else ".")
    if target.is_dir():
        target = target / f"run-{execution_id}.ipynb"
    if target.suffix != ".ipynb":
        raise ValueError(f"a notebook's file ends in .ipynb, got {str(target)!r}")
    return target
