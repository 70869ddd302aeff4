"""A conversation turn by turn: what was said, called and asked in a run, folded from its stream. Pure."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from agentspan.drawing.prose import markdown

Json = dict[str, Any]

LONG = 20_000
"""Longer results are cut here; the run's page has them whole."""
MISSED_MS = 1000
"""An answer that began so long before somebody listened has words that nobody gets again."""
ENDED = ("COMPLETED", "FAILED", "TIMED_OUT", "TERMINATED")


@dataclass
class Turn:
    """A message of the person and all that a run made of it. `items` is what is shown below the message, in its order;
    `writing` holds by execution what is being said; `last` is the number of the last event that was taken."""

    id: str
    prompt: str
    items: list[Json] = field(default_factory=list)
    writing: dict[str, str] = field(default_factory=dict)
    last: int = 0
    status: str = "RUNNING"
    _calls: dict[tuple[str, str], Json] = field(default_factory=dict)
    _speakers: dict[str, str] = field(default_factory=dict)
    _missed: set[str] = field(default_factory=set)

    @property
    def is_over(self) -> bool:
        """Whether the run has ended."""
        return self.status in ENDED

    @property
    def asked(self) -> list[str]:
        """The requests to people, by their ids."""
        return [each["id"] for each in self.items if each["kind"] == "request"]

    def take(self, event: Json, since: int = 0) -> None:
        """Fold one event of the stream in. `since`: the time from which on words were listened to."""
        if number := event.get("id"):
            self.last, self.status = max(self.last, number), "RUNNING"  # what comes after an end is of a retry
        if tell := EVENTS.get(event["type"]):
            tell(self, event, since)

    def spoken(self) -> list[Json]:
        """What is being written now: who, and the words so far as HTML."""
        return [
            {"key": name, "who": self._speakers.get(name, ""), "html": str(markdown(text))}
            for name, text in self.writing.items()
            if text
        ]

    # By the type of the event

    def _thinking(self, event: Json, since: int) -> None:
        name = event["executionId"]
        self.writing.pop(name, None)  # another attempt says it all again
        (self._missed.add if event.get("timestamp", since) < since - MISSED_MS else self._missed.discard)(name)

    def _token(self, event: Json, since: int) -> None:
        name = event["executionId"]
        self._speakers[name] = _who(event)
        known = self.writing.get(name) or ("… " if name in self._missed else "")
        self.writing[name] = known + str(event["content"])

    def _message(self, event: Json, since: int) -> None:
        self.writing.pop(event["executionId"], None)
        self._missed.discard(event["executionId"])
        self.items.append(_words(event["content"], _who(event)))

    def _heard(self, event: Json, since: int) -> None:
        self.items.append({**_words(event["content"], event.get("sender") or "message"), "kind": "heard"})

    def _call(self, event: Json, since: int) -> None:
        self.writing.pop(event["executionId"], None)
        call = {"kind": "call", "name": event["toolName"], "who": _who(event), "args": event.get("args") or {},
                "result": None, "state": "open"}  # fmt: skip
        self._calls[event["executionId"], str(event.get("callId"))] = call
        self.items.append(call)

    def _result(self, event: Json, since: int) -> None:
        key = event["executionId"], str(event.get("callId"))
        if key not in self._calls:  # refused before it was made
            self._call({**event, "args": None}, since)
        result = event.get("result")
        is_bad = isinstance(result, dict) and "error" in result
        self._calls[key].update(result=_cut(result), state="failed" if is_bad else "done")

    def _waiting(self, event: Json, since: int) -> None:
        asked = (event.get("pendingTool") or {}).get("requestId")
        if asked and asked not in self.asked:
            self.items.append({"kind": "request", "id": asked})
        elif not asked:
            self._note(event, since)

    def _note(self, event: Json, since: int) -> None:
        self.items.append({"kind": "note", "text": NOTES[event["type"]].format_map({**DEFAULTS, **event})})

    def _error(self, event: Json, since: int) -> None:
        text = str(event["content"])
        if event.get("final"):
            self._end(str(event.get("status") or "FAILED"))
            if self.status != "TERMINATED":
                known = bool(self.items) and self.items[-1].get("error") == text
                self.items[-1:] = [{"kind": "error", "text": text}] if known else [*self.items[-1:], _error(text)]
            return
        if call := self._calls.get((event["executionId"], str(event["toolName"]))):
            call.update(result=_cut({"error": text}), state="failed")  # it may be tried again
            return
        self.items.append({"kind": "note", "text": f"failed: {text}", "error": text})

    def _done(self, event: Json, since: int) -> None:
        self._end("COMPLETED")
        output = event.get("output") or {}
        result = output.get("result")
        if result in (None, "") or "subResults" in output:
            return
        said = next((each for each in reversed(self.items) if each["kind"] == "words"), None)
        if said is not None and not isinstance(result, str) and _parsed(said["text"]) == result:
            said.update(kind="value", value=_cut(result))
        elif said is None or said["text"].strip() != str(result).strip():
            self.items.append(
                _words(result, "") if isinstance(result, str) else {"kind": "value", "value": _cut(result), "who": ""}
            )

    def _end(self, status: str) -> None:
        """The run has ended: what was being said stays as it was, cut off."""
        self.status = status
        for each in self.spoken():
            self.items.append({"kind": "words", "who": each["who"], "html": each["html"], "text": "", "cut": True})
        self.writing.clear()
        for call in self._calls.values():
            if call["state"] == "open":
                call["state"] = "cut"


def _who(event: Json) -> str:
    """The agent below the one that is talked to, if it is one of those."""
    return str((event.get("path") or [""])[-1])


def _words(content: Any, who: str) -> Json:
    text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False, default=str)
    return {"kind": "words", "who": who, "text": text, "html": str(markdown(text))}


def _error(text: str) -> Json:
    return {"kind": "error", "text": text}


def _cut(value: Any) -> Any:
    """A result as far as it is shown."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return value if len(text) <= LONG else f"{text[:LONG]}… ({len(text):,} characters)"


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return None


NOTES = {
    "waiting": "Paused",
    "guardrail_fail": "The guardrail {guardrailName} said {verdict}: {content}",
    "context_condensed": "Earlier messages were condensed: {messagesBefore} became {messagesAfter}",
    "model_switched": "Goes on with {target}",
}
DEFAULTS = {"content": "", "target": "", "guardrailName": "", "verdict": "", "messagesBefore": 0, "messagesAfter": 0}

EVENTS: dict[str, Callable[[Turn, Json, int], None]] = {
    "thinking": Turn._thinking,
    "token": Turn._token,
    "message": Turn._message,
    "user_message": Turn._heard,
    "tool_call": Turn._call,
    "tool_result": Turn._result,
    "waiting": Turn._waiting,
    "guardrail_fail": Turn._note,
    "context_condensed": Turn._note,
    "model_switched": Turn._note,
    "error": Turn._error,
    "done": Turn._done,
}
"""What is shown of an event, by its type; the others are only on the run's own page."""
