"""What an execution came to, and the names of its tasks: as every reader of the log is told."""

from collections.abc import Mapping
from typing import Any

from agentspan.core import events as e
from agentspan.core import transcript
from agentspan.core.run import Run
from agentspan.core.states import Purpose
from agentspan.spec.agent import AgentSpec
from agentspan.spec.shape import parse


def outcome(spec: AgentSpec, run: Run, outputs: Mapping[int, dict[str, Any]]) -> dict[str, Any] | None:
    """The output of an execution that has ended: {result, finishReason, context, subResults?}, or {error, status} with
    what there was by then. `spec` is its own agent's."""
    if not run.ended:
        return None
    said = transcript.named(run.result)
    if run.reason or run.status != "COMPLETED":
        error = {"error": run.reason or run.finish_reason, "status": str(run.status), "finishReason": run.finish_reason}
        return {**error, **({"result": transcript.text(run.result, outputs)} if said else {})}
    output: dict[str, Any] = {
        "result": result_value(spec, run.result, outputs),
        "finishReason": run.finish_reason,
        "context": run.state,
    }
    if run.result.branches:
        output["subResults"] = transcript.sub_results(run.result, outputs)
    return output


def result_value(spec: AgentSpec, result: e.Result, outputs: Mapping[int, dict[str, Any]]) -> Any:
    """The text of a result, or the JSON value in it if the agent has an output type."""
    text = transcript.text(result, outputs)
    if not spec.output_type:
        return text
    try:
        return parse(text)
    except ValueError:
        return text


def reference(spec: AgentSpec, order: e.TaskScheduled) -> str:
    """The task's name within its execution, the same in each attempt."""
    match order.purpose:
        case Purpose.THINK:
            return f"{spec.name}_llm__{order.turn}"
        case Purpose.ACT:
            return transcript.call_id(order.turn, order.index)
        case Purpose.APPROVE:
            return f"{spec.name}_approval_{order.turn}_{order.index}"
        case Purpose.WAIT:
            return transcript.call_id(order.turn, order.index)
        case Purpose.SPEAK if not order.turn:
            return f"{order.name}_{order.index}"
        case Purpose.SPEAK:
            return f"{order.name}_{order.turn}"
        case _:
            return f"{spec.name}_{order.slot.replace('.', '_')}_{order.turn}"
