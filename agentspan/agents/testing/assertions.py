"""Assertions on the result of a run, wherever it comes from: `run`, `stream`, `mock_run`, `replay` or `stored`."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from agentspan.agents.result import AgentEvent, AgentResult, EventType, answer_text

Json = dict[str, Any]


def assert_status(result: AgentResult, status: Any) -> None:
    """The run stands so."""
    _hold(_word(result.status) == _word(status), f"the status is {_word(result.status)}, not {_word(status)}", result)


def assert_no_errors(result: AgentResult) -> None:
    """Nothing went wrong for good: an attempt that was made again does not count."""
    found = [str(each.content) for each in result.events if each.type == EventType.ERROR and _is_final(each)]
    found += [f"{call['name']}: {call['error']}" for call in result.tool_calls if call.get("error")]
    found += [str(result.error)] if result.error and not found else []
    _hold(not found, f"there are errors: {'; '.join(found)}", result)


def assert_tool_used(result: AgentResult, name: str, args: Mapping[str, Any] | None = None) -> None:
    """The tool was called, with at least these arguments."""
    calls = [call for call in calls_of(result) if call["name"] == name]
    _hold(bool(calls), f"the tool {name!r} was not called; called were {_names(result)}", result)
    if args is not None:
        fits = any(_includes(call["args"], args) for call in calls)
        _hold(
            fits, f"no call of {name!r} had {dict(args)!r}; it was called with {[c['args'] for c in calls]!r}", result
        )


def assert_tool_not_used(result: AgentResult, name: str) -> None:
    """The tool was not called."""
    _hold(all(call["name"] != name for call in calls_of(result)), f"the tool {name!r} was called", result)


def assert_tool_called_with(result: AgentResult, name: str, args: Mapping[str, Any] | None = None, **more: Any) -> None:
    """The tool was called with at least these arguments."""
    assert_tool_used(result, name, {**(args or {}), **more})


def assert_tool_call_order(result: AgentResult, names: Sequence[str]) -> None:
    """The tools were called in this order, whatever else was between."""
    called = [call["name"] for call in calls_of(result)]
    _hold(_is_within(names, called), f"{list(names)} is not the order of the calls {called}", result)


def assert_tools_used_exactly(result: AgentResult, names: Iterable[str]) -> None:
    """These tools were called, and no others."""
    wanted, called = set(names), {call["name"] for call in calls_of(result)}
    _hold(wanted == called, f"the tools called are {sorted(called)}, not {sorted(wanted)}", result)


def assert_output_contains(result: AgentResult, text: str, case_sensitive: bool = True) -> None:
    """The text stands in the answer."""
    said = _output(result)
    found = text in said if case_sensitive else text.lower() in said.lower()
    _hold(found, f"the output does not contain {text!r}; it is {said[:500]!r}", result)


def assert_output_matches(result: AgentResult, pattern: str) -> None:
    """The regular expression is found in the answer."""
    said = _output(result)
    _hold(re.search(pattern, said) is not None, f"the output does not match {pattern!r}; it is {said[:500]!r}", result)


def assert_output_type(result: AgentResult, kind: Any) -> None:
    """The output, or the answer in it, is of this type."""
    output = result.output
    answer = output.get("result") if isinstance(output, Mapping) else output
    fits = isinstance(output, kind) or isinstance(answer, kind)
    _hold(fits, f"the output is a {type(answer).__name__}, not a {getattr(kind, '__name__', kind)}", result)


def assert_events_contain(result: AgentResult, event_type: Any, expected: bool = True, **attrs: Any) -> None:
    """There is an event of this type with these fields; or, not `expected`, there is none."""
    found = any(each.type == _type(event_type) and _has(each, attrs) for each in result.events)
    what = f"{_type(event_type)} event" + (f" with {attrs!r}" if attrs else "")
    _hold(found is expected, f"there is {'no' if expected else 'a'} {what}", result)


def assert_event_sequence(result: AgentResult, types: Sequence[Any]) -> None:
    """Events of these types came in this order, whatever else was between."""
    wanted, happened = [_type(each) for each in types], [str(each.type) for each in result.events]
    _hold(_is_within(wanted, happened), f"{wanted} is not the order of the events {happened}", result)


def assert_handoff_to(result: AgentResult, agent: str) -> None:
    """An agent was handed to."""
    _hold(agent in handoffs(result), f"nothing was handed to {agent!r}, but to {handoffs(result)}", result)


def assert_agent_ran(result: AgentResult, agent: str) -> None:
    """An agent took part: it was handed to, answered, or called a tool."""
    _hold(
        agent in agents(result), f"the agent {agent!r} did not run; those that ran are {sorted(agents(result))}", result
    )


def assert_guardrail_passed(result: AgentResult, name: str) -> None:
    """A guardrail let something pass."""
    _verdict(result, name, EventType.GUARDRAIL_PASS, "pass")


def assert_guardrail_failed(result: AgentResult, name: str) -> None:
    """A guardrail stopped something."""
    _verdict(result, name, EventType.GUARDRAIL_FAIL, "fail")


def assert_max_turns(result: AgentResult, most: int) -> None:
    """There were at most so many tool calls and final answers."""
    count = sum(each.type in (EventType.TOOL_CALL, EventType.DONE) for each in result.events)
    _hold(count <= most, f"{count} turns are more than {most}", result)


def calls_of(result: AgentResult) -> list[Json]:
    """The tool calls as {name, args, ...}, in their order."""
    if result.tool_calls:
        return [{**call, "args": call.get("args") or {}} for call in result.tool_calls]
    events = (each for each in result.events if each.type == EventType.TOOL_CALL)
    return [{"name": str(each.tool_name), "args": each.args or {}} for each in events]


def handoffs(result: AgentResult) -> list[str]:
    """To whom was handed, in the order of it."""
    told = [str(each.target) for each in result.events if each.type == EventType.HANDOFF]
    return told or list(result.sub_results)


def agents(result: AgentResult) -> set[str]:
    """Who took part."""
    by_path = {name for each in result.events for name in each.path}
    by_call = {str(call["agentName"]) for call in result.tool_calls if call.get("agentName")}
    return {
        *handoffs(result),
        *result.sub_results,
        *by_path,
        *by_call,
        *([result.agent_name] if result.agent_name else []),
    }


def _verdict(result: AgentResult, name: str, kind: EventType, word: str) -> None:
    verdicts = (EventType.GUARDRAIL_PASS, EventType.GUARDRAIL_FAIL)
    asked = [each for each in result.events if each.type in verdicts and each.guardrail_name == name]
    names = sorted({str(each.guardrail_name) for each in result.events if each.type in verdicts})
    _hold(bool(asked), f"the guardrail {name!r} gave no verdict; verdicts are of {names}", result)
    _hold(any(each.type == kind for each in asked), f"the guardrail {name!r} did not {word}", result)


def _hold(holds: bool, problem: str, result: AgentResult) -> None:
    if not holds:
        error = f" (the run's error: {result.error})" if result.error else ""
        raise AssertionError(f"{problem}{error}")


def _output(result: AgentResult) -> str:
    return answer_text(result.output)


def _names(result: AgentResult) -> str:
    return ", ".join(dict.fromkeys(call["name"] for call in calls_of(result))) or "none"


def _includes(whole: Any, part: Mapping[str, Any]) -> bool:
    return isinstance(whole, Mapping) and all(key in whole and whole[key] == value for key, value in part.items())


def _is_within(wanted: Sequence[Any], happened: Sequence[Any]) -> bool:
    left = iter(happened)
    return all(any(each == other for other in left) for each in wanted)


def _is_final(event: AgentEvent) -> bool:
    return event.final or not event.data


def _has(event: AgentEvent, attrs: Json) -> bool:
    return all(_fits(getattr(event, name, None), value) for name, value in attrs.items())


def _fits(have: Any, want: Any) -> bool:
    return _includes(have, want) if isinstance(want, Mapping) and isinstance(have, Mapping) else bool(have == want)


def _type(kind: Any) -> str:
    return str(getattr(kind, "value", kind)).lower()


def _word(status: Any) -> str:
    return str(getattr(status, "value", status)).upper()
