"""`agentspan run`: start a run of a deployed agent, or of one in a file whose tools this process then serves, and wait.

Waiting can be left at any time: the run goes on, and `agentspan tail` or `wait` takes it up again.
"""

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from agentspan.cli import codes, completion, given, output, profiles
from agentspan.cli.events import EventLines
from agentspan.cli.session import note, runtime
from agentspan.errors import BadInput, NotFound

if TYPE_CHECKING:
    from agentspan.agents import AgentHandle, AgentResult, AgentRuntime, Request

Json = dict[str, Any]

OnHuman = typer.Option(
    None,
    "--on-human",
    help="When it asks a person: prompt (the default at a terminal), fail (end with code 4; the default elsewhere), "
    "wait, approve, reject.",
)
OnInterrupt = typer.Option(
    None, "--on-interrupt", help="What Ctrl-C does: detach or cancel; else it is asked at a terminal."
)
Media = typer.Option([], "--media", help="Address of an image, audio or document; can be repeated.")
Timeout = typer.Option(None, "--timeout", help="Wait so long at most, such as 30s or 5min; the run goes on.")
Output = typer.Option(None, "--output", "-o", help="table (the answer as text), json, jsonl, yaml, csv or id.")
AsJson = typer.Option(False, "--json", help="As --output json.")


def run(
    agent: str = typer.Argument(
        help="Name of a deployed agent, FILE.py:NAME or MODULE:NAME.", autocompletion=completion.agents_or_files
    ),
    prompt: str | None = typer.Argument(None, help="What it is asked; - reads the standard input, @FILE a file."),
    wait: bool = typer.Option(True, "--wait/--no-wait", help="Wait for the end, or only print the run's id."),
    stream: bool = typer.Option(False, "--stream", help="Print what happens as it happens."),
    inputs: str | None = typer.Option(
        None, "--input", help="JSON, @FILE or -: {prompt, context, media, session_id}; other keys go to the context."
    ),
    session: str | None = typer.Option(None, "--session", help="Go on with the conversation of this session."),
    model: str | None = typer.Option(None, "--model", help="Instead of the agent's own, such as openai/gpt-4o-mini."),
    version: int | None = typer.Option(None, "--version", help="Version of the deployed agent."),
    media: list[str] = Media,
    idempotency_key: str | None = typer.Option(None, "--idempotency-key", help="The same key is the same run."),
    budget: str | None = typer.Option(None, "--budget", help="Limits: cost=0.5,tokens=10000,seconds=60 or JSON."),
    timeout: str | None = Timeout,
    on_human: str | None = OnHuman,
    on_interrupt: str | None = OnInterrupt,
    output_format: str | None = Output,
    as_json: bool = AsJson,
    quiet: bool = typer.Option(False, "--quiet", "-q", help="Nothing but the answer."),
) -> None:
    """Run an agent and print its answer; the exit code says how the run ended."""
    style = output.style_of("json" if as_json else output_format, quiet=quiet)
    seconds = given.seconds_of(timeout, "--timeout")
    asked = _input(prompt, inputs)
    found = load(agent) if is_code(agent) else agent
    human, interrupt = _answers(on_human, on_interrupt)
    with runtime() as on:
        handle = _started(
            on,
            found,
            asked,
            model,
            version=version,
            media=[*asked.pop("media", ()), *media] or None,
            session_id=session or asked.pop("session_id", None),
            idempotency_key=idempotency_key,
            budget=given.limits_of(budget) if budget else None,
            on_human=_deputy(human),
            on_interrupt="detach",
        )
        if not wait:
            _begun(handle, style, agent if is_code(agent) else "")
            return
        lines = EventLines(style) if stream else None
        opening = "" if quiet else f"run {handle.execution_id}"
        result = _ended(on, handle, seconds, lines, human, interrupt, agent if is_code(agent) else "", opening)
        finish(result, style, streamed=stream)


def await_end(
    execution_id: str,
    seconds: float | None,
    served: str | None,
    on_human: str | None,
    on_interrupt: str | None,
    style: output.Style,
) -> None:
    """Wait for the end of a run that was started elsewhere, and serve the tools of an agent meanwhile."""
    human, interrupt = _answers(on_human, on_interrupt)
    with runtime() as on:
        handle = on.resume(execution_id, load(served)) if served else on.attach(execution_id)
        finish(_ended(on, handle, seconds, None, human, interrupt, served or ""), style)


def finish(result: "AgentResult", style: output.Style, *, streamed: bool = False) -> None:
    """Print what a run came to, and end with its code."""
    failed = codes.code_of_run(str(result.status))
    if not streamed:
        if style.output == "table":
            if not failed:
                print(answer_of(result))
        else:
            output.show(output.Told(body_of(result), RESULT_COLUMNS, "executionId"), style)
    if failed:
        note(f"agentspan: run {result.execution_id} ended {result.status}: {result.error}")
        raise typer.Exit(failed)


def is_code(agent: str) -> bool:
    """Is this an agent in a file or a module, and no name?"""
    return ":" in agent or agent.endswith(".py")


def load(target: str) -> Any:
    """The agent of `FILE.py:NAME` or `MODULE:NAME`; NAME can be left out where there is one agent."""
    with given.one_sentence(target):
        place, _, name = target.rpartition(":") if ":" in target else (target, "", "")
        module = module_of(place)
        if name:
            if not hasattr(module, name):
                raise NotFound(
                    f"{place} has no {name!r}; its agents are {', '.join(sorted(agents_of(module))) or 'none'}"
                )
            return getattr(module, name)
        found = agents_of(module)
        if len(found) != 1:
            raise BadInput(f"{place} has the agents {', '.join(sorted(found)) or 'none'}: say which, as {place}:NAME")
        return next(iter(found.values()))


def module_of(place: str) -> Any:
    """The module of a file, whose folder its own imports then find, or of a name."""
    path = Path(place)
    if path.suffix != ".py":
        sys.path.insert(0, str(Path.cwd()))
        return importlib.import_module(place)
    if not path.is_file():
        raise NotFound(f"there is no file {place}")
    sys.path.insert(0, str(path.resolve().parent))
    spec = importlib.util.spec_from_file_location(path.stem, path.resolve())
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def agents_of(module: Any) -> dict[str, Any]:
    """The agents at the top of a module, `@agent` functions too, by the names that they have there."""
    from agentspan.agents import Agent

    return {name: each for name, each in vars(module).items() if isinstance(each, Agent) or hasattr(each, "_agent_def")}


def body_of(result: "AgentResult") -> Json:
    """A result as JSON."""
    from agentspan.agents.portraits import result_json

    return result_json(result)


def answer_of(result: "AgentResult") -> str:
    """The answer as text."""
    from agentspan.agents.result import answer_text

    return answer_text(result.output)


# Parts


def _input(prompt: str | None, inputs: str | None) -> Json:
    """What is asked: the prompt, and what the JSON says."""
    asked = given.object_of(inputs, "--input") if inputs is not None else {}
    known: Json = {key: asked.pop(key) for key in ("prompt", "media", "session_id", "context") if key in asked}
    if asked:
        known["context"] = {**(known.get("context") or {}), **asked}
    if prompt is not None:
        known["prompt"] = given.text_of(prompt)
    return known


def _started(on: "AgentRuntime", agent: Any, asked: Json, model: str | None, **options: Any) -> "AgentHandle":
    from agentspan.agents import RunSettings

    try:
        settings = RunSettings(model=model) if model else None
        context = asked.get("context")
        return on.start(agent, asked.get("prompt"), run_settings=settings, context=context, **options)
    except (TypeError, ValueError) as problem:  # what the SDK's checks say of what was given
        raise BadInput(str(problem)) from problem


def _begun(handle: "AgentHandle", style: output.Style, code: str) -> None:
    body = {"executionId": handle.execution_id}
    if style.output == "table":
        print(handle.execution_id)
    else:
        output.show(output.Told(body, (output.Column("run", "executionId"),), "executionId"), style)
    if code:
        note(f"the tools of {code} are served by: agentspan wait {handle.execution_id} --serve {code}")


def _answers(on_human: str | None, on_interrupt: str | None) -> tuple[str, str]:
    """Who answers what the run asks, and what an interrupt means ("" if it is asked then)."""
    human = on_human or profiles.setting("on_human") or ("prompt" if _is_terminal() else "fail")
    interrupt = on_interrupt or profiles.setting("on_interrupt")
    return profiles.checked("on_human", human), profiles.checked("on_interrupt", interrupt) if interrupt else ""


def _ended(
    on: "AgentRuntime",
    handle: "AgentHandle",
    seconds: float | None,
    lines: EventLines | None,
    human: str,
    interrupt: str,
    code: str,
    opening: str = "",
) -> "AgentResult":
    """The result, once the run has ended; what ends the waiting before ends the command. `opening` is said first: from
    then on an interrupt is one of the waiting."""
    from agentspan.agents import HumanNeededError

    def wait() -> "AgentResult":
        if lines is None:
            return handle.join(seconds, on_human=_deputy(human), on_interrupt="detach")
        return on.portal.call(handle._tell(lambda event: lines.print(event.data), seconds))

    while True:
        try:
            if opening:
                note(opening)
                opening = ""
            return wait()
        except KeyboardInterrupt:
            chosen = interrupt or (_choice() if _is_terminal() else "detach")
            if chosen != "wait":
                raise typer.Exit(_left(handle, chosen, code)) from None
        except HumanNeededError as needed:
            request = needed.request
            note(f"agentspan: the run waits for a person: {request.kind} of {request.tool or request.agent_name}")
            note(f"answer with: agentspan {VERBS.get(request.kind, 'answer')} {request.request_id}")
            note(_again(handle, code))
            raise typer.Exit(codes.WAITING) from None
        except TimeoutError:
            note(f"agentspan: the run has not ended after {seconds:g} s")
            note(_again(handle, code))
            raise typer.Exit(codes.TIMEOUT) from None


def _deputy(human: str) -> "str | Callable[[Request], Json]":
    """Who answers what the run asks: whoever sits at the terminal, without a word among the data."""
    return _typed if human == "prompt" else human


def _typed(request: "Request") -> Json:
    """The answer of whoever sits at the terminal."""
    from agentspan.agents.deputy import needed, question, read

    while True:
        try:
            line = input_from_terminal(question(request))
        except EOFError:
            raise needed(request, request.root_id, "nobody can type here") from None
        if (said := read(request, line.strip())) is not None:
            return said


def _choice() -> str:
    """Ask at the terminal what an interrupt means."""
    try:
        typed = input_from_terminal("\ninterrupted: [d]etach, [c]ancel the run or [w]ait on? ")
    except (KeyboardInterrupt, EOFError):
        return "detach"
    return CHOICES.get(typed.strip().lower()[:1], "detach")


def input_from_terminal(question: str) -> str:
    """A line that is typed; the question goes where no data goes."""
    print(question, end="", file=sys.stderr, flush=True)
    line = sys.stdin.readline()
    if not line:
        raise EOFError
    return line


def _left(handle: "AgentHandle", chosen: str, code: str) -> int:
    """Cancel the run, or say how to come back to it; the exit code."""
    if chosen == "cancel":
        handle.cancel("interrupted")
        note(f"the run {handle.execution_id} is cancelled")
        return codes.CANCELLED
    note(_again(handle, code))
    return codes.INTERRUPTED


def _again(handle: "AgentHandle", code: str) -> str:
    """How to come back to a run."""
    how = f"wait {handle.execution_id} --serve {code}" if code else f"tail {handle.execution_id}"
    return f"the run goes on; come back to it with: agentspan {how}"


def _is_terminal() -> bool:
    return sys.stdin.isatty() and sys.stderr.isatty()


CHOICES = {"d": "detach", "c": "cancel", "w": "wait"}
VERBS = {"approval": "approve", "review": "approve"}
RESULT_COLUMNS = (
    output.Column("run", "executionId"),
    output.Column("status", "status"),
    output.Column("answer", "output.result"),
    output.Column("error", "error"),
)
