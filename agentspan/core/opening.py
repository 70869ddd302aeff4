"""What comes before an agent's first step: its callback, instructions made by a function, checks of its input."""

from agentspan.core import guards, transcript
from agentspan.core.events import ExecutionFailed, Fact, TaskScheduled
from agentspan.core.log import Log
from agentspan.core.run import Run
from agentspan.core.stage import hook, stage
from agentspan.core.states import Kind, Purpose
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import CHECK_RETRY

FIRST = 1
"""The event that starts a root."""


def opening(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact] | None:
    """What must happen before the agent begins; None if it may."""
    for step in (_callback, _brief, _checked):
        follow = step(spec, run, log, seed)
        if follow is not None:
            return follow
    return None


def _callback(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact] | None:
    return hook(spec, run, "before_agent", seed)


def _brief(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact] | None:
    given = spec.instructions
    if not isinstance(given, dict) or "_worker_ref" not in given:
        return None
    order = TaskScheduled(Kind.WORKER, Purpose.BRIEF, str(given["_worker_ref"]), "brief", retry=CHECK_RETRY)
    follow = stage(run, order, seed)
    if follow is None and (fault := run.faults.get("brief")):
        return [ExecutionFailed(f"the instructions of {spec.name} could not be made: {fault.error}")]
    return follow


def _checked(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact] | None:
    rails = guards.at(spec.guardrails, "input")
    what = guards.Guarded("input", "input", model=spec.model)
    return guards.verdicts(rails, run, log, seed, what, lambda: prompt(run, log))


def prompt(run: Run, log: Log) -> str:
    """The prompt of an execution, without what its team said before it."""
    if run.asked:
        return log.prompt(run.asked)
    if run.source:
        return transcript.request(log.call(run.source, run.index))
    return transcript.prompt(_line(run, log), [log.text(each) for each in run.after])


def _line(run: Run, log: Log) -> str:
    """The bare prompt that came down from above."""
    seq, index = run.line or (FIRST, -1)
    return log.prompt(seq) if index < 0 else transcript.request(log.call(seq, index))
