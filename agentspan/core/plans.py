"""Carrying out a plan: each step is a turn whose calls the plan makes in the model's place."""

from typing import Any

from agentspan.core import transcript
from agentspan.core.ending import conclude
from agentspan.core.events import AnswerGiven, ExecutionFailed, Fact, Result, StepBegun, TaskScheduled
from agentspan.core.log import Log
from agentspan.core.opening import FIRST
from agentspan.core.run import Run, at_end_of_step
from agentspan.core.stage import stage
from agentspan.core.states import CallState, Kind, Purpose
from agentspan.spec.agent import AgentSpec
from agentspan.spec.plan import Json, filled, name_of, ops_of, problems
from agentspan.spec.policy import MODEL_RETRY
from agentspan.spec.rules import asks
from agentspan.spec.shape import parse

SLOTS = ("plan", "plan.again")


def first(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact] | None:
    """What comes before the agent's next turn: the plan, or the present step of it; None if there is nothing."""
    if not _planned(spec, run, log):
        return None
    plan = _plan(spec, run, log, seed)
    if isinstance(plan, list):
        return plan
    steps = plan["steps"]
    if not run.step:
        return [_begun(steps, 0, run, log)]
    if run.step > len(steps):
        return None
    step = steps[run.step - 1]
    if not ops_of(step):
        return None
    calls = [{"name": op["tool"], "arguments": _filled(op.get("args") or {}, steps, run, log)} for op in ops_of(step)]
    return [AnswerGiven(run.turn, {"tool_calls": calls, "finish_reason": "tool_calls"})]


def following(spec: AgentSpec, run: Run, log: Log, seed: str) -> list[Fact] | None:
    """What comes after a step: the next one, the answer, or who takes over; None if the agent goes on by itself."""
    if not run.step or not _planned(spec, run, log):
        return None
    plan = _plan(spec, run, log, seed)
    if isinstance(plan, list):
        return plan
    steps = plan["steps"]
    if run.step > len(steps):
        return None
    problem = _failed(steps[run.step - 1], run, log)
    if problem and steps[run.step - 1].get("on_fail") != "continue":
        return _given_up(spec, run, len(steps), name_of(steps[run.step - 1], run.step - 1), problem)
    if run.step == len(steps) and spec.synthesize is False:
        made = tuple(filter(None, run.made)) or (run.answer,)
        return conclude(spec, run, log, seed, "stop", Result(made[-1:]))
    return [_begun(steps, run.step, run, log)]


def _planned(spec: AgentSpec, run: Run, log: Log) -> bool:
    return spec.executes_plan or (not run.id and bool((log.get(FIRST) or {}).get("plan")))


def _plan(spec: AgentSpec, run: Run, log: Log, seed: str) -> Json | list[Fact]:
    """The plan: given with the start or the agent, or made by the planner, who is asked once more if it is none."""
    tools = {tool.name for tool in spec.own_tools}
    given = (not run.id and (log.get(FIRST) or {}).get("plan")) or spec.plan_source
    if isinstance(given, dict):
        wrong = problems(given, tools)
        return dict(given) if not wrong else [ExecutionFailed(f"the plan cannot be carried out: {'; '.join(wrong)}")]
    wrong = []
    for slot in SLOTS:
        order = TaskScheduled(Kind.AGENT, Purpose.BRIEF, f"{spec.name}_planner", slot, retry=MODEL_RETRY)
        follow = stage(run, order, seed)
        if follow is not None:
            return follow
        if fault := run.faults.get(slot):
            return [ExecutionFailed(f"no plan could be made: {fault.error}")]
        made, wrong = _read(log.get(run.marks[slot]) or {}, tools)
        if not wrong:
            return dict(made)
    return [ExecutionFailed(f"the planner's answer is no plan: {'; '.join(wrong)}")]


def _read(output: Json, tools: set[str]) -> tuple[Any, list[str]]:
    try:
        made = parse(transcript.text_of(output))
    except ValueError as problem:
        return {}, [str(problem)]
    return made, problems(made, tools)


def _begun(steps: list[Json], index: int, run: Run, log: Log) -> StepBegun:
    """The beginning of a step. What a model is to write, it is told here; after the last step, to answer."""
    if index == len(steps):
        return StepBegun(index, "answer", ANSWER)
    step = steps[index]
    generate = step.get("generate")
    prompt = generate.get("prompt") if isinstance(generate, dict) else generate
    text = str(_filled(prompt, steps, at_end_of_step(run, index), log)) if prompt else ""
    return StepBegun(index, name_of(step, index), text)


def _filled(value: Any, steps: list[Json], run: Run, log: Log) -> Any:
    places = {name_of(step, place): place for place, step in enumerate(steps)}

    def result(name: str) -> Any:
        seqs = run.steps.get(str(places.get(name, -1)), ())
        values = [_value(log.get(seq) or {}) for seq in seqs]
        return values[0] if len(values) == 1 else values

    return filled(value, result)


def _value(output: Json) -> Any:
    return output["content"] if "content" in output else transcript.visible(output)


def _failed(step: Json, run: Run, log: Log) -> str:
    """Why a step has failed; "" if it has not."""
    broken = [call for call in run.calls if call.state is not CallState.DONE]
    if broken:
        fault = run.faults.get(f"call.{run.calls.index(broken[0])}")
        return f"{broken[0].name}: {fault.error if fault else broken[0].state}"
    rules = step.get("validation") or []
    result = _value(log.get(run.made[0]) or {})
    wrong = [rule for rule in rules if not asks([{"argument": "result", **rule}], {"result": result})]
    return f"its result does not pass {wrong[0]!r}" if wrong else ""


def _given_up(spec: AgentSpec, run: Run, steps: int, name: str, problem: str) -> list[Fact]:
    """After a step that failed: the fallback agent takes over, or the agent itself, who is told."""
    if isinstance(spec.fallback, dict) and spec.fallback.get("name"):
        return [TaskScheduled(Kind.AGENT, Purpose.SPEAK, str(spec.fallback["name"]), "agent.0", turn=run.turn)]
    return [StepBegun(steps, "takeover", TAKE_OVER.format(name=name, problem=problem))]


ANSWER = "The plan is carried out. Now give the final answer to the task."
TAKE_OVER = "Step {name} of the plan has failed: {problem}. Go on without the plan and finish the task."
