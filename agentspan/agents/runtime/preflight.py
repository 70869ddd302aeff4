"""The input guardrails of a root agent, asked in the caller's process before a run is stored at all.

Only functions and patterns that are here are asked; the server judges every guardrail again, a model's and those that
other processes serve included.
"""

from agentspan.agents.agent import Agent
from agentspan.agents.guardrail import Guardrail, GuardrailResult
from agentspan.client.portal import in_caller


async def preflight(agent: Agent, prompt: str) -> str:
    """The prompt, as the guardrails let it pass; ValueError if one does not."""
    for each in agent.guardrails:
        if each.position != "input" or each.kind not in LOCAL or each.external:
            continue
        verdict = await in_caller(_verdict, each, prompt)
        if verdict.passed:
            continue
        if each.on_fail != "fix" or verdict.fixed_output is None:
            raise ValueError(f"the input guardrail {each.name!r} refused the prompt: {verdict.message or 'no reason'}")
        prompt = verdict.fixed_output
    return prompt


def _verdict(guardrail: Guardrail, prompt: str) -> GuardrailResult:
    try:
        return guardrail.check(prompt)
    except Exception as problem:  # a guardrail that cannot judge lets nothing pass
        return GuardrailResult(False, f"Guardrail error: {type(problem).__name__}: {problem}")


LOCAL = ("custom", "regex")
