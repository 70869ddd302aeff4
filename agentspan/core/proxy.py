"""An agent that stands for a person: it asks one, or answers for them, instead of asking a model."""

from agentspan.core.events import AnswerGiven, Fact, TaskScheduled
from agentspan.core.log import Log
from agentspan.core.opening import prompt
from agentspan.core.run import Run
from agentspan.core.states import Kind, Purpose
from agentspan.spec.agent import AgentSpec

TERMINATE = "TERMINATE"


def proxy_words(spec: AgentSpec, run: Run, log: Log, number: int) -> list[Fact] | None:
    """What a proxy does for turn `number`; None if the agent is none."""
    if not is_proxy(spec):
        return None
    given = spec.metadata or {}
    mode = str(given.get("_human_input_mode") or "ALWAYS")
    asked = mode == "ALWAYS" or (mode == "TERMINATE" and TERMINATE in heard(run, log))
    if asked:
        return [TaskScheduled(Kind.HUMAN, Purpose.THINK, spec.name, "think", turn=number)]
    words = str(given.get("_default_response") or "Continue.")
    return [AnswerGiven(number, {"content": words, "finish_reason": "stop"})]


def is_proxy(spec: AgentSpec) -> bool:
    """Does it stand for a person? Its model is never asked."""
    return (spec.metadata or {}).get("_agent_type") == "user_proxy"


def heard(run: Run, log: Log) -> str:
    """The last thing that was said to it: the team's last reply, or the prompt."""
    last = run.reply if run.heard else run.after[-1] if run.after else None
    return log.text(last) if last else prompt(run, log)
