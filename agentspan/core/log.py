"""The facts of one tree by their number, for those who decide: what is not at hand is found when it is asked for."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

from agentspan.core import events as e
from agentspan.core import transcript

Json = dict[str, Any]
Find = Callable[[Iterable[int]], Mapping[int, e.AnyFact]]


class Log(Mapping[int, Json]):
    """As a mapping: the outputs of events. `find` gives facts by number."""

    def __init__(self, find: Find = lambda _: {}) -> None:
        self._find = find
        self._facts: dict[int, e.AnyFact] = {}

    def add(self, seq: int, fact: e.AnyFact) -> None:
        self._facts[seq] = fact

    def fact(self, seq: int) -> e.AnyFact | None:
        if seq not in self._facts:
            self.have((seq,))
        return self._facts.get(seq)

    def have(self, seqs: Iterable[int]) -> None:
        """Find what is missing, and the events that their results are made of, in few steps."""
        missing = {seq for seq in seqs if seq} - self._facts.keys()
        while missing:
            found = dict(self._find(missing))
            self._facts.update(found)
            missing = set[int]().union(*map(_parts, found.values())) - self._facts.keys()
            missing -= found.keys()

    def text(self, result: e.Result) -> str:
        """The text of a result."""
        self.have(transcript.named(result))
        return transcript.text(result, self)

    def prompt(self, seq: int) -> str:
        """The prompt that an event holds: the start, or what was put in the place of the given one; "" if none does."""
        return str((self.get(seq) or {}).get("prompt") or "")

    def call(self, source: int, index: int) -> Json:
        """The arguments of call `index` in the event that holds them."""
        return arguments(self.get(source) or {}, index)

    def __getitem__(self, seq: int) -> Json:
        fact = self.fact(seq)
        if fact is None:
            raise KeyError(seq)
        return self._output(fact)

    def _output(self, fact: e.AnyFact) -> Json:
        match fact:
            case e.TaskCompleted(result=result) if result is not None:
                return {"result": self.text(result)}
            case e.TaskCompleted(output=output) | e.VerdictGiven(output=output):
                return output or {}
            case e.AnswerGiven(output=output):
                return output
            case e.ExecutionStarted(input=given):
                return given or {}
            case e.MessageReceived(message=message):
                return message
            case e.MessagesTaken(messages=messages):
                return transcript.taken([(seq, self.get(seq) or {}) for seq in messages])
            case _:
                return {}

    def __iter__(self) -> Iterator[int]:
        return iter(self._facts)

    def __len__(self) -> int:
        return len(self._facts)


def arguments(output: Json, index: int) -> Json:
    """The arguments of a call, from the answer of a model or from the answer of who changed them."""
    given = output.get("arguments", output.get("args"))
    calls = output.get("tool_calls")
    if given is None and isinstance(calls, list | tuple) and index < len(calls):
        given = calls[index].get("arguments")
    return dict(given) if isinstance(given, dict) else {}


def _parts(fact: e.AnyFact) -> set[int]:
    match fact:
        case e.TaskCompleted(result=result) if result is not None:
            return transcript.named(result)
        case e.MessagesTaken(messages=messages):
            return set(messages)
        case _:
            return set()
