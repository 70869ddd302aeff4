"""The process's own runtime, and the functions that use it."""

import threading
from dataclasses import fields, replace
from typing import Any

from agentspan.agents.handle import AgentHandle
from agentspan.agents.host import use
from agentspan.agents.inbox import Request
from agentspan.agents.result import AgentResult, DeploymentInfo
from agentspan.agents.runtime.config import AgentConfig
from agentspan.agents.runtime.runtime import AgentRuntime
from agentspan.agents.stream import AgentStream, AsyncAgentStream

Json = dict[str, Any]


def configure(config: AgentConfig | None = None, **kwargs: Any) -> None:
    """Set what the process's runtime will use: a config, or fields over those of the environment, before it exists.

    RuntimeError if it exists already, TypeError for an unknown field.
    """
    global _config
    if unknown := set(kwargs) - {field.name for field in fields(AgentConfig)}:
        raise TypeError(f"configure() got unknown fields: {', '.join(sorted(unknown))}")
    with _lock:
        if _runtime is not None:
            raise RuntimeError("the runtime exists already: call configure() before the first run, or shutdown() first")
        _config = replace(config or AgentConfig.from_env(), **kwargs)


def default_runtime() -> AgentRuntime:
    """The process's runtime, made at first use."""
    global _runtime
    with _lock:
        if _runtime is None:
            _runtime = AgentRuntime(config=_config)
        return _runtime


def run(agent: Any, prompt: Any = None, *, runtime: AgentRuntime | None = None, **kwargs: Any) -> AgentResult:
    """See AgentRuntime.run_async."""
    return (runtime or default_runtime()).run(agent, prompt, **kwargs)


async def run_async(
    agent: Any, prompt: Any = None, *, runtime: AgentRuntime | None = None, **kwargs: Any
) -> AgentResult:
    """See AgentRuntime.run_async."""
    return await (runtime or default_runtime()).run_async(agent, prompt, **kwargs)


def start(agent: Any, prompt: Any = None, *, runtime: AgentRuntime | None = None, **kwargs: Any) -> AgentHandle:
    """See AgentRuntime.start_async."""
    return (runtime or default_runtime()).start(agent, prompt, **kwargs)


async def start_async(
    agent: Any, prompt: Any = None, *, runtime: AgentRuntime | None = None, **kwargs: Any
) -> AgentHandle:
    """See AgentRuntime.start_async."""
    return await (runtime or default_runtime()).start_async(agent, prompt, **kwargs)


def stream(agent: Any = None, prompt: Any = None, *, runtime: AgentRuntime | None = None, **kwargs: Any) -> AgentStream:
    """See AgentRuntime.stream."""
    return (runtime or default_runtime()).stream(agent, prompt, **kwargs)


async def stream_async(
    agent: Any = None, prompt: Any = None, *, runtime: AgentRuntime | None = None, **kwargs: Any
) -> AsyncAgentStream:
    """See AgentRuntime.stream_async."""
    return await (runtime or default_runtime()).stream_async(agent, prompt, **kwargs)


def resume(
    execution_id: str, agent: Any, *, timeout: float | None = None, runtime: AgentRuntime | None = None
) -> AgentHandle:
    """See AgentRuntime.resume_async."""
    return (runtime or default_runtime()).resume(execution_id, agent, timeout=timeout)


async def resume_async(
    execution_id: str,
    agent: Any,
    *,
    timeout: float | None = None,  # noqa: ASYNC109
    runtime: AgentRuntime | None = None,
) -> AgentHandle:
    """See AgentRuntime.resume_async."""
    return await (runtime or default_runtime()).resume_async(execution_id, agent, timeout=timeout)


def attach(execution_id: str, *, output_type: Any = None, runtime: AgentRuntime | None = None) -> AgentHandle:
    """See AgentRuntime.attach."""
    return (runtime or default_runtime()).attach(execution_id, output_type=output_type)


def inbox(status: str = "open", *, runtime: AgentRuntime | None = None, **kwargs: Any) -> list[Request]:
    """See AgentRuntime.inbox_async."""
    return (runtime or default_runtime()).inbox(status, **kwargs)


async def inbox_async(status: str = "open", *, runtime: AgentRuntime | None = None, **kwargs: Any) -> list[Request]:
    """See AgentRuntime.inbox_async."""
    return await (runtime or default_runtime()).inbox_async(status, **kwargs)


def plan(agent: Any, *, runtime: AgentRuntime | None = None) -> Json:
    """See AgentRuntime.plan_async."""
    return (runtime or default_runtime()).plan(agent)


async def plan_async(agent: Any, *, runtime: AgentRuntime | None = None) -> Json:
    """See AgentRuntime.plan_async."""
    return await (runtime or default_runtime()).plan_async(agent)


def deploy(
    *agents: Any,
    packages: list[str] | None = None,
    schedules: list[Any] | None = None,
    runtime: AgentRuntime | None = None,
) -> list[DeploymentInfo]:
    """See AgentRuntime.deploy_async."""
    return (runtime or default_runtime()).deploy(*agents, packages=packages, schedules=schedules)


async def deploy_async(
    *agents: Any,
    packages: list[str] | None = None,
    schedules: list[Any] | None = None,
    runtime: AgentRuntime | None = None,
) -> list[DeploymentInfo]:
    """See AgentRuntime.deploy_async."""
    return await (runtime or default_runtime()).deploy_async(*agents, packages=packages, schedules=schedules)


def serve(
    *agents: Any, packages: list[str] | None = None, blocking: bool = True, runtime: AgentRuntime | None = None
) -> None:
    """See AgentRuntime.serve_async."""
    (runtime or default_runtime()).serve(*agents, packages=packages, blocking=blocking)


async def serve_async(
    *agents: Any, packages: list[str] | None = None, blocking: bool = True, runtime: AgentRuntime | None = None
) -> None:
    """See AgentRuntime.serve_async."""
    await (runtime or default_runtime()).serve_async(*agents, packages=packages, blocking=blocking)


def shutdown() -> None:
    """Close the process's runtime, if there is one; the next call makes a new one."""
    if (runtime := _taken()) is not None:
        runtime.shutdown()


async def shutdown_async() -> None:
    """See `shutdown`."""
    if (runtime := _taken()) is not None:
        await runtime.shutdown_async()


def _taken() -> AgentRuntime | None:
    global _runtime
    with _lock:
        runtime, _runtime = _runtime, None
        return runtime


use(default_runtime)

_lock = threading.Lock()
_runtime: AgentRuntime | None = None
_config: AgentConfig | None = None
