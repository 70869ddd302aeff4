"""How an execution comes to its end: when it stops, and what its result must pass before it is one."""

from agentspan.core import guards
from agentspan.core.events import ExecutionCompleted, ExecutionFailed, Fact, Result, TaskScheduled, VerdictGiven
from agentspan.core.log import Log
from agentspan.core.run import Run
from agentspan.core.stage import check, hook, stage
from agentspan.core.states import Kind, Purpose, Verdict
from agentspan.spec import shape
from agentspan.spec.agent import AgentSpec
from agentspan.spec.policy import MODEL_RETRY
from agentspan.spec.rules import Seen, needs_worker, terminated

TOOL_ROUNDS = 3
"""How often a model is asked again to call the tools that it must call."""


def stops(spec: AgentSpec, run: Run, log: Log, seed: str, about: Result) -> list[Fact] | str | None:
    """Whether the agent's own rules end it after this turn: the reason, None, or what must be known first."""
    rule = spec.termination
    if rule and not needs_worker(rule):
        usage, team = run.usage, run.team_tokens
        seen = Seen(
            log.text(about), run.messages, usage.prompt_tokens + team[0], usage.completion_tokens + team[1]
        )  # fmt: skip
        if reason := terminated(rule, seen):
            return reason
    elif rule:
        asked = _asked(run, log, seed, str(rule.get("taskName") or f"{spec.name}_termination"), "termination", about)
        if asked is not None:
            return asked
    if spec.stop_when:
        return _asked(run, log, seed, str(spec.stop_when["taskName"]), "stop_when", about)
    return None


def _asked(run: Run, log: Log, seed: str, name: str, slot: str, about: Result) -> list[Fact] | str | None:
    """A function's word on whether to go on. One that fails lets the run go on."""
    follow = check(run, name, slot, seed, about)
    if follow is not None:
        return follow
    output = log.get(run.marks.get(slot, 0)) or {}
    return None if output.get("should_continue", True) is not False else str(output.get("reason") or slot)


def conclude(
    spec: AgentSpec, run: Run, log: Log, seed: str, finish: str, given: Result, *, may_retry: bool = True
) -> list[Fact]:
    """The end with a result, once the required tools, its shape, the guardrails and the callback let it pass."""
    result = Result((run.fixed,)) if run.fixed else given
    if may_retry:
        for step in (_required(spec, run, given), _shaped(spec, run, log, seed, result)):
            if step is not None:
                return step
    rails = guards.at(spec.guardrails, "output")
    what = guards.Guarded("output", "output", about=result, model=spec.model, may_retry=may_retry)
    checked = guards.verdicts(rails, run, log, seed, what, lambda: log.text(result))
    if checked is not None:
        return checked
    wrapped = hook(spec, run, "after_agent", seed, about=result)
    return [ExecutionCompleted(finish, result)] if wrapped is None else wrapped


def synthesis(spec: AgentSpec, run: Run, seed: str) -> list[Fact] | None:
    """A team's own model says what comes of what its agents said; None if it has failed for good."""
    order = TaskScheduled(
        Kind.LLM, Purpose.SPEAK, spec.model, "synthesis", turn=run.spoken + 1, retry=MODEL_RETRY, seen=run.seq
    )
    return stage(run, order, seed)


def _required(spec: AgentSpec, run: Run, result: Result) -> list[Fact] | None:
    missing = [name for name in spec.required_tools if not run.used.get(name)]
    if not missing or not spec.thinks:
        return None
    names = ", ".join(missing)
    if run.retries.get("required_tools", 0) >= TOOL_ROUNDS:
        problem = f"the required tools {names} were not called in {TOOL_ROUNDS} more turns"
        return [ExecutionFailed(problem, result=result)]
    text = f"Before you answer you must call the tools you have not called yet: {names}."
    return [VerdictGiven("required_tools", "required_tools", "required_tools", Verdict.RETRY, text)]


def _shaped(spec: AgentSpec, run: Run, log: Log, seed: str, result: Result) -> list[Fact] | None:
    """A result without the shape that it must have: the model is asked again, or a team's own model for it."""
    if not spec.output_type or not (wrong := shape.problem(spec.output_type, log.text(result))):
        return None
    if not spec.thinks and spec.model and not run.answer:
        follow = synthesis(spec, run, seed)
        return [ExecutionFailed(run.faults["synthesis"].error, result=result)] if follow is None else follow
    if run.retries.get("output_type", 0) >= shape.REPAIRS:
        return [ExecutionFailed(f"the answer has not the shape of its output type: {wrong}", result=result)]
    text = f"Your answer does not have the required shape: {wrong}. Answer again, with the JSON value alone."
    return [VerdictGiven("output_type", "output_type", "output_type", Verdict.RETRY, text)]
