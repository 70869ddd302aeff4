"""Results as files, and stored runs as results: what was run once can be looked at again without running it."""

import dataclasses
import json
from pathlib import Path
from types import TracebackType
from typing import Any, overload

from agentspan.agents.encode import plain_of
from agentspan.agents.result import (
    EVENT_TYPES,
    AgentEvent,
    AgentResult,
    FinishReason,
    Status,
    TokenUsage,
    finish_reason_of,
)

Json = dict[str, Any]

FORMAT = "agentspan-result/1"


class Recording:
    """`with record(path) as keep: keep(runtime.run(...))` writes what was kept at the end of the block."""

    def __init__(self, path: Any) -> None:
        self.path, self.result = Path(path), None

    result: AgentResult | None

    def __call__(self, result: AgentResult) -> AgentResult:
        """Keep a result, and give it back."""
        self.result = result
        return result

    def __enter__(self) -> "Recording":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, problem: BaseException | None, _: TracebackType | None
    ) -> None:
        if problem is None and self.result is None:
            raise ValueError("nothing was recorded: call the recording with a result, keep(runtime.run(...))")
        if self.result is not None:
            _write(self.result, self.path)


@overload
def record(result: AgentResult, path: Any) -> None: ...
@overload
def record(result: str | Path) -> Recording: ...
def record(result: Any, path: Any = None) -> Recording | None:
    """Write a result to a JSON file; with the path alone, a `Recording` for a `with` block."""
    if path is None:
        return Recording(result)
    _write(result, Path(path))
    return None


def replay(path: Any) -> AgentResult:
    """Read a result from a file."""
    body = json.loads(Path(path).read_text(encoding="utf-8"))
    if body.get("format") != FORMAT:
        raise ValueError(f"{path} is no recorded result: its format is {body.get('format')!r}, not {FORMAT!r}")
    known = {field.name for field in dataclasses.fields(AgentResult)}
    given = {key: value for key, value in body.items() if key in known}
    status = Status(given["status"]) if given["status"] in STATUSES else given["status"]
    reason = given.get("finish_reason")
    return AgentResult(
        **{
            **given,
            "status": status,
            "finish_reason": finish_reason_of(reason, status) if reason else FinishReason.STOP,
            "token_usage": TokenUsage(**given["token_usage"]) if given.get("token_usage") else None,
            "events": [_event(each) for each in given.get("events") or ()],
        }
    )


def stored(runtime: Any, execution_id: str) -> AgentResult:
    """The result of a run that a server keeps, with its events. Nothing is run."""
    result: AgentResult = runtime.attach(execution_id).join()
    return result


def _write(result: AgentResult, path: Path) -> None:
    fields = {field.name: getattr(result, field.name) for field in dataclasses.fields(AgentResult)}
    fields["events"] = [{**_shallow(each), "type": str(each.type)} for each in result.events]
    text = json.dumps({"format": FORMAT, **plain_of(fields, "the result")}, indent=2, ensure_ascii=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text + "\n", encoding="utf-8")


def _shallow(event: AgentEvent) -> Json:
    return {field.name: getattr(event, field.name) for field in dataclasses.fields(event)}


def _event(body: Json) -> AgentEvent:
    return AgentEvent(**{**body, "type": EVENT_TYPES.get(body["type"], body["type"])})


STATUSES = frozenset(Status)
