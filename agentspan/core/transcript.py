"""The message list of one agent, derived from events, in the chat shape that providers accept.

For any prefix of the log it is legal: every tool call is answered, if only by the word that there is no answer yet.
Calls get ids of our own (`call_<turn>_<index>`), since some providers use one id twice.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from agentspan.core import events as e
from agentspan.core.reports import unfit
from agentspan.core.run import TIME_OUTS
from agentspan.core.states import Kind, Purpose, Verdict
from agentspan.spec.agent import AgentSpec
from agentspan.spec.media import parts
from agentspan.spec.shape import ask

Message = dict[str, Any]

CONTINUE = "Continue exactly where you stopped."
GO_ON = "Go on."
NO_ANSWER = "Error: this call has no result."
NO_TEXT = "(no text)"
PRIVATE_KEYS = frozenset({"_state_updates", "_state_deletions"})


def call_id(turn: int, index: int) -> str:
    return f"call_{turn}_{index}"


class Transcript:
    """Grows by one event at a time; `messages` gives what a model would be sent now.

    Results of sub-agents stand in other executions' events: those that are `wanted` must be given to `resolve` first.
    """

    def __init__(
        self,
        prompt: str,
        media: Iterable[str] = (),
        history: Iterable[Message] = (),
        dialogue: Iterable[Message] = (),
    ) -> None:
        self.prompt = prompt
        self.dialogue = list(dialogue)
        self.media = list(media)
        self.history = list(history)
        self.state: dict[str, Any] = {}
        self.signal = ""
        self.seq = 0
        self.answers = 0
        self.turn = 0
        self._brief = ""
        self._summary = ""
        self._said: list[Message] = []
        self._answer_now: e.Json = {}
        self._refused = ""
        self._open: dict[str, Message] = {}
        self._slots: dict[int, e.TaskScheduled] = {}
        self._mail: dict[int, e.Json] = {}
        self._refs: list[tuple[str, Message, e.Result]] = []

    def extend(self, events: Iterable[e.Event]) -> "Transcript":
        """Fold in the events of this execution that come after `seq`."""
        for event in events:
            if event.seq > self.seq:
                self.seq = event.seq
                self._fold(event.fact)
        return self

    @property
    def wanted(self) -> set[int]:
        """The events of other executions whose texts are still missing."""
        return set[int]().union(*(named(result) for _, _, result in self._refs))

    def resolve(self, outputs: Mapping[int, e.Json]) -> "Transcript":
        """Put in the texts of sub-agents' results."""
        for _, message, result in self._refs:
            message["content"] = text(result, outputs)
        self._refs = []
        return self

    def messages(self, spec: AgentSpec) -> list[Message]:
        """System (instructions, form of the answer, signal), memory, history, user (context, prompt), the rest."""
        return legal([*self._opening(spec), *self._said])

    def said(self) -> list[Message]:
        """What was said since the prompt."""
        return self._said

    def old(self, kept: int) -> list[Message]:
        """The messages that a compaction which keeps the last `kept` leaves out."""
        return self._said[: self._cut(kept)]

    def _opening(self, spec: AgentSpec) -> list[Message]:
        remembered = [remember(each) for each in (spec.memory or {}).get("messages") or ()]
        signal = f"Signal from outside, in force until replaced: {self.signal}" if self.signal else ""
        system = [instructions(spec) or self._brief, *(m["content"] for m in remembered if m["role"] == "system")]
        system += [ask(spec.output_type) if spec.output_type else "", PLAN if plans(spec) else "", signal]
        context = f"Context: {json.dumps(self.state, ensure_ascii=False)}" if self.state else ""
        user = "\n\n".join(part for part in (context, self.prompt) if part)
        content: Any = [{"type": "text", "text": user or NO_TEXT}, *parts(self.media)] if self.media else user
        text_ = "\n\n".join(part for part in system if part)
        return [
            *([{"role": "system", "content": text_}] if text_ else []),
            *(m for m in remembered if m["role"] != "system"),
            *self.history,
            {"role": "user", "content": content},
            *self.dialogue,
        ]

    def _fold(self, fact: e.AnyFact) -> None:
        match fact:
            case e.ExecutionStarted(input=given, alone=False):
                self.state = dict((given or {}).get("context") or {})
            case e.TaskScheduled():
                self._slots[self.seq] = fact
                if fact.purpose is Purpose.THINK:
                    self._hear_mail(fact.seen)
                    self._ask()
            case e.TaskCompleted(output=output):
                order = self._slots.pop(fact.task, None)
                if order and (problem := unfit(order, output or {})):
                    self._failed(order, problem)
                else:
                    self._completed(order, output or {}, fact.result)
            case e.TaskFailed(task=task, error=error):
                self._failed(self._over(task), error)
            case e.TaskTimedOut(task=task, limit=limit):
                self._failed(self._over(task), TIME_OUTS[limit])
            case e.TaskCanceled(task=task, reason=reason):
                self._failed(self._over(task), f"canceled: {reason}")
            case e.CallRefused(turn=turn, index=index, cause="transfer", detail=target):
                self._answer(call_id(turn, index), f"Handed over to {target}.")
            case e.CallRefused(turn=turn, index=index, cause=cause, detail=detail):
                self._answer(call_id(turn, index), f"Error: {detail or REFUSALS[cause]}")
            case e.SignalReceived(message=message):
                self.signal = message
            case e.MessageReceived(message=message):
                self._mail[self.seq] = message
            case e.MessagesTaken(turn=turn, index=index, messages=seqs, task=task):
                self._slots.pop(task, None)
                mail = taken([(seq, self._mail.pop(seq, {})) for seq in seqs])
                self._answer(call_id(turn, index), text_of(mail))
            case e.VerdictGiven():
                self._judged(fact)
            case e.AnswerGiven(turn=turn, output=output):
                self._heard(turn, output)
            case e.StepBegun(text=words) if words:
                self._said.append({"role": "user", "content": words})
            case e.ModelSwitched() if self._said and self._said[-1]["role"] == "assistant":
                self._said.pop()
            case e.ContextCompacted():
                self._compact(fact)
            case _:
                pass

    def _completed(self, order: e.TaskScheduled | None, output: e.Json, result: e.Result | None) -> None:
        match order and order.purpose:
            case Purpose.THINK if order and "overflow" not in output:
                self._heard(order.turn, output)
            case Purpose.SPEAK:
                self._update(output)
            case Purpose.ACT | Purpose.WAIT if order:
                if order.purpose is Purpose.ACT:
                    self._update(output)
                call = call_id(order.turn, order.index)
                if result is not None and call in self._open:
                    self._refs.append((call, self._open[call], result))
                else:
                    self._answer(call, text_of(output))
            case Purpose.APPROVE if order and output.get("approved") is not True:
                reason = f": {output['reason']}" if output.get("reason") else ""
                self._answer(call_id(order.turn, order.index), f"Rejected by a person{reason}")
            case Purpose.BRIEF:
                self._brief = text_of(output)
            case Purpose.CONDENSE:
                self._summary = str(output.get("content") or "")
            case Purpose.HOOK if order:
                self._hooked(order, output)

    def _update(self, output: e.Json) -> None:
        """A tool or a member of the team has changed the shared state."""
        gone = output.get("_state_deletions") or ()
        kept = {key: value for key, value in self.state.items() if key not in gone}
        self.state = kept | (output.get("_state_updates") or {})

    def _hooked(self, order: e.TaskScheduled, output: e.Json) -> None:
        position = order.slot.partition(".")[0]
        if position == "before_agent" and "prompt" in output:
            self.prompt = str(output["prompt"])
        if position == "after_model" and ("tool_calls" in output or "result" in output):
            self._forget_answer()
            self._heard(order.turn, changed(self._answer_now, output))
        elif "result" in output:
            self._replaced(position, order, output)

    def _replaced(self, position: str, order: e.TaskScheduled, output: e.Json) -> None:
        match position:
            case "before_model":
                self._heard(order.turn, changed({}, output))
            case "before_tool" | "after_tool":
                self._answer(call_id(self.turn, order.index), text_of({"result": output["result"]}))

    def _judged(self, fact: e.VerdictGiven) -> None:
        index = int(fact.slot.split(".")[1]) if "." in fact.slot else 0
        match fact.position, fact.verdict:
            case "output", Verdict.RETRY:
                self._said.append({"role": "user", "content": f"Your answer was not accepted: {fact.message}"})
            case "output_type" | "required_tools", Verdict.RETRY:
                self._said.append({"role": "user", "content": fact.message})
            case "input", Verdict.FIX:
                self.prompt = str((fact.output or {}).get("prompt") or "")
            case "output", Verdict.FIX:
                self._reword(text_of(fact.output or {}))
            case "tool_output", Verdict.FIX:
                self._answer(call_id(self.turn, index), text_of(fact.output or {}))
            case "output", Verdict.RAISE:
                self._refused = fact.message
            case "approval", Verdict.RAISE:
                self._answer(call_id(self.turn, index), f"Error: {fact.message}")

    def _heard(self, turn: int, output: e.Json) -> None:
        self.answers += 1
        self.turn = turn
        self._answer_now = output
        calls = output.get("tool_calls") or ()
        message: Message = {"role": "assistant", "content": output.get("content") or ("" if calls else "(no answer)")}
        if calls:
            message["tool_calls"] = [_call(turn, index, call) for index, call in enumerate(calls)]
        if calls and output.get("thoughts"):
            message["thinking_blocks"] = output["thoughts"]
        self._said.append(message)
        self._open = {}
        for index in range(len(calls)):
            result = {"role": "tool", "tool_call_id": call_id(turn, index), "content": NO_ANSWER}
            self._open[call_id(turn, index)] = result
            self._said.append(result)
        if not calls and output.get("finish_reason") == "length":
            self._said.append({"role": "user", "content": CONTINUE})

    def _hear_mail(self, seen: int) -> None:
        for seq in [seq for seq in self._mail if seq <= seen]:
            self._said.append({"role": "user", "content": mail_text(self._mail.pop(seq))})

    def _ask(self) -> None:
        """Nobody answers himself: a run that was retried after its answer was refused goes on from there."""
        if self._said and self._said[-1]["role"] == "assistant":
            words = f"Your answer was not accepted: {self._refused}" if self._refused else GO_ON
            self._said.append({"role": "user", "content": words})
        self._refused = ""

    def _reword(self, words: str) -> None:
        """Other words for the last answer."""
        for message in reversed(self._said):
            if message["role"] == "assistant":
                message["content"] = words
                return

    def _forget_answer(self) -> None:
        while self._said and self._said.pop()["role"] != "assistant":
            pass

    def _compact(self, fact: e.ContextCompacted) -> None:
        cut = self._cut(fact.kept)
        old, self._said = self._said[:cut], self._said[cut:]
        summary = self._summary if fact.summary else "\n".join(_line(message) for message in old)
        if old:
            self._said.insert(0, {"role": "user", "content": f"Summary of the conversation so far:\n{summary}"})

    def _cut(self, kept: int) -> int:
        """Where the kept end begins: never between a call and its results."""
        cut = max(0, len(self._said) - kept)
        while cut < len(self._said) and self._said[cut]["role"] == "tool":
            cut += 1
        return cut

    def _over(self, task: int) -> e.TaskScheduled | None:
        """The order of an attempt that has ended badly. An agent goes on with the same one when it is retried."""
        order = self._slots.get(task)
        return order if order is None or order.kind is Kind.AGENT else self._slots.pop(task)

    def _failed(self, order: e.TaskScheduled | None, error: str) -> None:
        if order and order.purpose in (Purpose.ACT, Purpose.WAIT, Purpose.APPROVE):
            prefix = "Error: not approved" if order.purpose is Purpose.APPROVE else "Error"
            self._answer(call_id(order.turn, order.index), f"{prefix}: {error}")

    def _answer(self, call: str, text: str) -> None:
        if call in self._open:
            self._open[call]["content"] = text
            self._refs = [each for each in self._refs if each[0] != call]


def legal(messages: list[Message]) -> list[Message]:
    """The same words as every provider takes them: a user speaks first, nobody twice in a row or without a word."""
    shaped: list[Message] = []
    for message in map(_worded, messages):
        last = shaped[-1] if shaped else None
        if message["role"] == "assistant" and (last is None or last["role"] == "system"):
            shaped.append({"role": "user", "content": "(The conversation began before.)"})
        if last and last["role"] == message["role"] and message["role"] in ("user", "assistant") and not _calls(last):
            shaped[-1] = _joined(last, message)
        else:
            shaped.append(message)
    return shaped


def _worded(message: Message) -> Message:
    content = message["content"]
    blank = isinstance(content, str) and not content.strip()
    return {**message, "content": "" if _calls(message) else NO_TEXT} if blank else message


def _calls(message: Message) -> bool:
    return bool(message.get("tool_calls"))


def _joined(first: Message, second: Message) -> Message:
    if isinstance(first["content"], str) and isinstance(second["content"], str):
        return {**first, **second, "content": "\n\n".join(t for t in (first["content"], second["content"]) if t)}
    return {**first, "content": [*_parts(first["content"]), *_parts(second["content"])]}


def _parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content)


def _line(message: Message) -> str:
    called = ", ".join(call["function"]["name"] for call in message.get("tool_calls") or ())
    words = str(message["content"] or (f"called {called}" if called else ""))
    return f"{message['role']}: {words[:LINE_CHARS]}"


def remember(message: Message) -> Message:
    """A message of a conversation memory as chat: its calls and results in words, since their partners may be gone."""
    role, words = str(message.get("role") or "user"), str(message.get("message") or message.get("content") or "")
    calls = message.get("tool_calls") or message.get("toolCalls")
    if role == "tool_call" or calls:
        listed = json.dumps(calls, ensure_ascii=False, default=str) if calls else words
        return {"role": "assistant", "content": f"{words} (called {listed})".strip()}
    if role == "tool":
        return {"role": "user", "content": f"(result of a tool: {words})"}
    return {"role": role if role in ("system", "assistant") else "user", "content": words}


def mail_text(message: e.Json) -> str:
    """What a model reads of a message from outside."""
    return str(message["message"]) if list(message) == ["message"] else json.dumps(message, ensure_ascii=False)


def taken(mail: Iterable[tuple[int, e.Json]]) -> e.Json:
    """The result of a call that waits for messages."""
    messages = [{"id": f"m{seq}", "payload": message} for seq, message in mail]
    return {"messages": messages, "count": len(messages)}


def request(arguments: Mapping[str, Any]) -> str:
    """The prompt of an agent that is called as a tool."""
    for key in ("request", "prompt", "message", "input", "query"):
        if isinstance(arguments.get(key), str) and arguments[key]:
            return str(arguments[key])
    words = next((value for value in arguments.values() if isinstance(value, str) and value), None)
    return words if words is not None else json.dumps(dict(arguments), ensure_ascii=False)


def as_object(value: Any) -> dict[str, Any]:
    """The arguments that a guardrail gives in place of a call's: an object, or the JSON of one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except (ValueError, RecursionError):
            return {"value": value}
    return dict(value) if isinstance(value, dict) else {"value": value}


def conversation(spec: AgentSpec, events: Iterable[e.Event], upto: int) -> list[tuple[str, e.Result | str]]:
    """Who said what in a team, from the team's own events up to one of them.

    Results of calls follow the answer that made them, in the order of the calls, however they came.
    """
    said: list[tuple[tuple[int, int], str, e.Result | str]] = [
        ((0, place), a.name, a.introduction) for place, a in enumerate(spec.agents) if a.introduction
    ]
    slots: dict[int, e.TaskScheduled] = {}
    answers: dict[int, int] = {}
    for event in (event for event in events if event.seq <= upto):
        match event.fact:
            case e.TaskScheduled() as order:
                slots[event.seq] = order
            case e.TaskCompleted(task=task, output=output, result=result) if task in slots:
                order, place = slots[task], (event.seq, 0)
                if order.purpose is Purpose.THINK:
                    answers[order.turn] = event.seq
                elif order.purpose is Purpose.ACT:
                    place = (answers.get(order.turn, event.seq), 1 + order.index)
                said += [(place, *words) for words in _spoken(spec, order, output or {}, result)]
            case e.AnswerGiven(turn=turn):
                answers[turn] = event.seq
            case e.MessageReceived(message=message):
                said.append(((event.seq, 0), "user", mail_text(message)))
            case e.VerdictGiven(verdict=Verdict.RETRY, position=position, message=message) if position in FEEDBACK:
                said.append(((event.seq, 0), "reviewer", message))
    return [(name, words) for _, name, words in sorted(said, key=lambda each: each[0])]


def _spoken(
    spec: AgentSpec, order: e.TaskScheduled, output: e.Json, result: e.Result | None
) -> list[tuple[str, e.Result | str]]:
    match order.purpose:
        case Purpose.SPEAK if result is not None:
            return [(order.name, result)]
        case Purpose.THINK if output.get("content"):
            return [(spec.name, str(output["content"]))]
        case Purpose.ACT:
            return [(f"tool {order.name}", result or text_of(output))]
    return []


def dialogue(name: str, said: Iterable[tuple[str, str]]) -> list[Message]:
    """A conversation as its member `name` had it: its own words are answers, those of the others are told to it."""
    heard = [
        {"role": "assistant", "content": words}
        if speaker == name
        else {"role": "user", "content": told([(speaker, words)])}
        for speaker, words in said
        if words
    ]
    return [*heard, {"role": "user", "content": YOUR_TURN}] if heard and heard[-1]["role"] == "assistant" else heard


def coordination(events: Iterable[e.Event], upto: int, words: Callable[[e.Result], str]) -> list[Message]:
    """What a team's own model was asked and answered while it chose who is next, and what those said whom it chose."""
    talk: list[Message] = []
    slots: dict[int, e.TaskScheduled] = {}
    for event in (event for event in events if event.seq <= upto):
        match event.fact:
            case e.TaskScheduled(purpose=Purpose.CHOOSE | Purpose.SPEAK) as order:
                slots[event.seq] = order
                if order.purpose is Purpose.CHOOSE and not order.attempt + order.lost:
                    talk.append({"role": "user", "content": AGAIN if order.slot.endswith(".again") else NEXT})
            case e.TaskCompleted(task=task, output=output, result=result) if task in slots:
                if slots[task].purpose is Purpose.CHOOSE:
                    talk.append({"role": "assistant", "content": _choice(output or {})})
                elif result is not None:
                    talk.append({"role": "user", "content": told([(slots[task].name, words(result))]) or NO_WORDS})
            case e.MessageReceived(message=message):
                talk.append({"role": "user", "content": told([("user", mail_text(message))])})
            case e.VerdictGiven(verdict=Verdict.RETRY, position=position, message=message) if position in FEEDBACK:
                talk.append({"role": "user", "content": told([("reviewer", message)])})
    return talk


def _choice(output: e.Json) -> str:
    calls = output.get("tool_calls")
    called = calls[0].get("name") if isinstance(calls, list) and calls and isinstance(calls[0], dict) else ""
    return str(output.get("content") or called or "(no answer)")


def told(said: Iterable[tuple[str, str]]) -> str:
    """A conversation as text."""
    return "\n\n".join(f"[{name}]: {words}" for name, words in said if words)


def plans(spec: AgentSpec) -> bool:
    """Is the agent told to plan before it acts?"""
    return spec.planner is True or bool(spec.enable_planning)


def _call(turn: int, index: int, call: e.Json) -> Message:
    given = call.get("arguments")
    arguments = json.dumps(given if isinstance(given, dict) else {}, ensure_ascii=False)
    return {
        "id": call_id(turn, index),
        "type": "function",
        "function": {"name": call["name"], "arguments": arguments},
    }


def instructions(spec: AgentSpec) -> str:
    return spec.instructions if isinstance(spec.instructions, str) else ""


def changed(answer: e.Json, said: e.Json) -> e.Json:
    """A model's answer after a callback has changed it: other words are whole, other calls replace its own."""
    answer = {**answer, "tool_calls": said["tool_calls"]} if "tool_calls" in said else answer
    if "result" not in said:
        return answer
    return {**answer, "content": text_of({"result": said["result"]}), "finish_reason": "stop"}


def visible(output: Mapping[str, Any]) -> Any:
    """A tool's result without what the runtime keeps beside it: the value of `result` if nothing else is there."""
    rest = {key: value for key, value in output.items() if key not in PRIVATE_KEYS}
    return rest["result"] if list(rest) == ["result"] else rest


def text_of(output: e.Json) -> str:
    """What a model reads of a tool's output."""
    value = visible(output)
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _words(output: e.Json) -> str:
    """What a person reads of an event that a result names: a model's answer, that of a callback in its place, or a
    tool's result for want of words."""
    if "content" in output and "finish_reason" in output:
        return str(output["content"])
    return text_of({"result": output["result"]} if output.keys() == {"result", "tool_calls"} else output)


def text(result: e.Result, outputs: Mapping[int, e.Json]) -> str:
    """The text of a result. `outputs` holds the output of each event that it names."""
    if result.branches:
        parts = (f"[{branch.name}]: {_branch_text(branch, outputs)}" for branch in result.branches)
        return "\n\n".join(parts)
    return "".join(_words(outputs.get(seq) or {}) for seq in result.answers)


def sub_results(result: e.Result, outputs: Mapping[int, e.Json]) -> dict[str, str]:
    """The texts of a parallel agent's branches, by agent name."""
    return {branch.name: _branch_text(branch, outputs) for branch in result.branches}


def _branch_text(branch: e.Branch, outputs: Mapping[int, e.Json]) -> str:
    return f"Error: {branch.error}" if branch.error else text(branch.result, outputs)


def named(result: e.Result) -> set[int]:
    """The events that a result is made of."""
    return set(result.answers).union(*(named(branch.result) for branch in result.branches))


def prompt(given: str, before: Iterable[str], heard: str = "") -> str:
    """The prompt of an agent: what the person gave, the results of the agents before it, and what its team said."""
    told_ = [f"Conversation so far:\n\n{heard}"] if heard else []
    return "\n\n".join([given, *(f"Result of the step before:\n{each}" for each in before), *told_])


PLAN = "Before you act, write a short plan of your steps; then follow it, and change it when you learn more."
NEXT = "Who is next?"
AGAIN = "That names nobody. Answer with exactly one of the names, and nothing else."
YOUR_TURN = "It is your turn again."
NO_WORDS = "(no answer)"
FEEDBACK = ("output", "output_type", "required_tools")
LINE_CHARS = 200
REFUSALS = {
    "unknown_tool": "there is no such tool",
    "bad_arguments": "the arguments are not a JSON object",
    "stopped": "the run was asked to stop before this call was made",
    "guardrail": "a guardrail refused this call",
    "call_limit": "this tool may not be called again",
    "handed_over": "the conversation was handed over",
}
