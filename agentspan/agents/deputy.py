"""Who answers what a run asks a person, where nobody looks on: a policy, a function, or whoever types."""

import json
import logging
import sys
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import Any

from agentspan.agents.exceptions import AgentConflictError, ConfigurationError, HumanNeededError
from agentspan.agents.inbox import Request, message_of
from agentspan.agents.result import EventType
from agentspan.client.portal import in_caller

Json = dict[str, Any]
Handle = Any
"""An AgentHandle; it knows of its deputies, so they do not know of it here."""
OnHuman = str | Callable[[Request], Any]
Policy = Callable[[Request, str], Awaitable[Any]]

log = logging.getLogger("agentspan")

YES_OR_NO = ("approval", "review")
INTERRUPTS = ("detach", "cancel")
LONGEST = 400


@dataclass
class Deputy:
    """Answers the requests of one run by `policy`, each once."""

    policy: Policy
    told: set[str] = field(default_factory=set)

    async def stay(self, handle: Handle) -> None:
        """Answer whatever the run asks until it ends."""
        async with aclosing(handle._follow()) as events:
            async for event in events:
                if event.type == EventType.WAITING:
                    await self.attend(handle)

    async def attend(self, handle: Handle) -> None:
        """Answer what the run asks now. Whoever was first is right."""
        for request in await handle.requests_async():
            if request.request_id in self.told:
                continue
            self.told.add(request.request_id)
            given = await self.policy(request, handle.execution_id)
            if given is None:
                continue
            try:
                await request.answer_async(given)
            except AgentConflictError as conflict:
                log.info("the request %s was answered otherwise: %s", request.request_id, conflict.message)


def deputy(on_human: OnHuman) -> Deputy | None:
    """The deputy of a setting; None if the run is to wait for a person. ConfigurationError for what is none."""
    if callable(on_human):
        return Deputy(_asking(on_human))
    if on_human not in WORDS:
        known = ", ".join(map(repr, WORDS))
        raise ConfigurationError(f"on_human must be one of {known}, or a function of a Request; got {on_human!r}")
    policy = WORDS[on_human]
    return None if policy is None else Deputy(policy)


def checked_interrupt(on_interrupt: str) -> str:
    """The setting; ConfigurationError if it is none."""
    if on_interrupt not in INTERRUPTS:
        raise ConfigurationError(f"on_interrupt must be 'detach' or 'cancel', got {on_interrupt!r}")
    return on_interrupt


# Policies


async def _fail(request: Request, run: str) -> Json:
    raise needed(request, run, "on_human='fail'")


async def _approve(request: Request, run: str) -> Json:
    if request.kind not in YES_OR_NO:
        raise needed(request, run, "on_human='approve' says yes and no more")
    return {"approved": True}


async def _reject(request: Request, run: str) -> Json:
    if request.kind not in YES_OR_NO:
        raise needed(request, run, "on_human='reject' says no and no more")
    return {"approved": False, "reason": "nobody is there to approve it"}


async def _prompt(request: Request, run: str) -> Json:
    """Ask at the standard input, in the thread that waits, until the answer can be read."""
    while True:
        try:
            line = await in_caller(_typed, question(request))
        except (EOFError, NotImplementedError) as problem:  # NotImplementedError: a front end without an input
            raise needed(request, run, "nobody can type here") from problem
        if (given := read(request, line.strip())) is not None:
            return given


def _asking(function: Callable[[Request], Any]) -> Policy:
    async def policy(request: Request, run: str) -> Json | None:
        said = await in_caller(function, request)
        return answer_of(request, await said if isinstance(said, Awaitable) else said)

    return policy


def _typed(prompt: str) -> str:
    sys.stdout.flush()
    return input(prompt)


# Answers


def answer_of(request: Request, said: Any) -> Json | None:
    """The answer that a function's value means: True and False, a name, a text, an object; None is left to others."""
    if said is None or isinstance(said, dict):
        return said
    if isinstance(said, bool) and request.kind in YES_OR_NO:
        return {"approved": said}
    if request.kind == "selection":
        return {"selected": str(said)}
    return message_of(said)


def question(request: Request) -> str:
    """What is asked, and how to answer it."""
    if request.kind in YES_OR_NO:
        given = ", ".join(f"{key}={_short(value)}" for key, value in request.arguments.items())
        what = f"{request.tool}({given})" if request.kind == "approval" else _short(request.content)
        return f"{request.agent_name}: {what}\nyes, no and why, or the new arguments as JSON? "
    if request.kind == "selection":
        return f"{request.agent_name}: who is next? {', '.join(choices(request))}: "
    return f"{request.agent_name}: {_short(request.content or 'your answer')}\n> "


def read(request: Request, line: str) -> Json | None:
    """What was typed, as an answer; None if it is none."""
    if request.kind in YES_OR_NO:
        word, _, why = line.partition(" ")
        if word.lower().rstrip(",.:") in ("n", "no"):
            return {"approved": False, "reason": why.strip()}
        if line.lower() in ("y", "yes"):
            return {"approved": True}
        given = _object(line)
        return None if given is None else {"approved": True, "arguments": given}
    if request.kind == "selection":
        return {"selected": line} if line in choices(request) else None
    if line.startswith("{"):
        return _object(line)
    return {"message": line} if line else None


def choices(request: Request) -> list[str]:
    """The names among which a person chooses."""
    form = ((request.response_schema or {}).get("properties") or {}).get("selected") or {}
    return [str(each) for each in form.get("enum") or ()]


def needed(request: Request, run: str, why: str) -> HumanNeededError:
    what = f"{request.kind} of {request.tool!r}" if request.tool else request.kind
    return HumanNeededError(
        f"the run {run} waits for a person ({what}), and {why}. The run goes on waiting: answer with "
        f"runtime.attach({run!r}).respond(...), in the inbox, or with: agentspan inbox --run {run}",
        execution_id=run,
        request=request,
    )


def _object(line: str) -> Json | None:
    try:
        found = json.loads(line)
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= LONGEST else f"{text[:LONGEST]} ..."


WORDS: dict[str, Policy | None] = {
    "wait": None,
    "fail": _fail,
    "approve": _approve,
    "reject": _reject,
    "prompt": _prompt,
}
"""What `on_human` may be, besides a function."""
