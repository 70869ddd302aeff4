"""The embedded model `local/smollm2`: real weights in this process, no key, no network, no cost, and no great mind.

A rule chooses the tool (router); the model fills its arguments and phrases the answer, each under a grammar; without a
fitting tool it answers freely. It is there to show an agent at work, not to plan, to judge or to know things.
"""

import asyncio
import os
import secrets
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from agentspan.engine.providers.grammar import arguments_schema, readable, sentence_grammar
from agentspan.engine.providers.model import (
    CallSettings,
    Emit,
    ModelAnswer,
    ModelRequest,
    Usage,
    finish,
    has_media,
    tool_call,
)
from agentspan.engine.providers.names import LOCAL_MODELS
from agentspan.engine.providers.router import choose
from agentspan.engine.providers.weights import weights_path
from agentspan.errors import ModelFailure
from agentspan.spec.chat import last_results, last_user_text, text_of, turn_of

CONTEXT_TOKENS = 4096
ANSWER_TOKENS = 256
LONGEST_TEXT = 4000

_servers: dict[Path, Any] = {}
# The model takes one call at a time; the others wait in this thread's queue.
_thread = ThreadPoolExecutor(1, thread_name_prefix="local-model")


async def prepare(settings: CallSettings) -> None:
    """Load the weights, once in the life of the process."""
    path = weights_path(LOCAL_MODELS[0], settings.data_dir / "models")
    if path not in _servers:
        await asyncio.get_running_loop().run_in_executor(_thread, _load, path)


async def answer(request: ModelRequest, settings: CallSettings, emit: Emit, environ: Mapping[str, str]) -> ModelAnswer:
    """Call a tool if one fits and none has answered yet, else speak."""
    name = request.model.partition("/")[2]
    if name not in LOCAL_MODELS:
        raise ModelFailure(f'There is no local model "{name}"; write "local/{LOCAL_MODELS[0]}".')
    if has_media(request.messages):
        raise ModelFailure(f"{request.model} takes no images, audio or documents; choose a model that does.")
    server = _servers[weights_path(name, settings.data_dir / "models")]
    job = _Job(server, request, emit, asyncio.get_running_loop())
    try:
        return await job.loop.run_in_executor(_thread, job.run)
    finally:
        job.ended.set()


def _load(path: Path) -> None:
    if path in _servers:
        return
    try:
        import xllamacpp
    except ImportError as error:
        raise ModelFailure(f'The local model needs `pip install "agentspan[local]"` ({error}).') from None
    if not path.exists():
        raise ModelFailure(
            f"The weights of the local model are not in {path.parent}; run `agentspan model pull smollm2`."
        )
    wanted = xllamacpp.CommonParams()
    wanted.model.path = str(path)
    wanted.n_ctx = CONTEXT_TOKENS
    wanted.n_parallel = 1
    # Its threads spin while they wait: one too many on a busy machine makes it a hundred times slower.
    wanted.cpuparams.n_threads = min(4, max(1, (os.cpu_count() or 1) // 2))
    wanted.cpuparams_batch.n_threads = wanted.cpuparams.n_threads
    wanted.verbosity = -1
    # The library always listens on a loopback port as well; with a key that nobody knows, nobody can use it.
    wanted.api_keys = [secrets.token_hex(32)]
    try:
        _servers[path] = xllamacpp.Server(wanted)
    except RuntimeError as error:
        raise ModelFailure(f"The weights in {path} cannot be loaded: {error}") from None


class _Said(NamedTuple):
    text: str
    reason: str | None
    usage: Usage


class _Job:
    """One call, run in the model's thread. What it emits goes to the loop, until the call has ended there."""

    def __init__(self, server: Any, request: ModelRequest, emit: Emit, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self.ended = threading.Event()
        self._server, self._request, self._emit = server, request, emit

    def run(self) -> ModelAnswer:
        request = self._request
        question = last_user_text(request.messages)[-LONGEST_TEXT:]
        results = last_results(request.messages)
        if results:
            return self._phrase(question, results)
        if function := choose(request.tools, question):
            return self._fill(function, question)
        return self._talk()

    def _fill(self, function: dict[str, Any], question: str) -> ModelAnswer:
        schema = arguments_schema(function, question)
        if not schema["properties"]:
            return self._answered(_Said("", None, Usage()), call=(function["name"], "{}"))
        asked = _ask_arguments(function, list(schema["properties"]), question)
        body = {"response_format": {"type": "json_schema", "json_schema": {"schema": schema}}}
        said = self._generate([_message("system", FILL), *FILL_SHOTS, asked], body, lambda text: self._tell(""))
        return self._answered(said, call=(function["name"], said.text))

    def _phrase(self, question: str, results: list[str]) -> ModelAnswer:
        grammar = None if self._request.response_schema else sentence_grammar(question, results)
        asked = _ask_sentence(question, results)
        body = {"grammar": grammar} if grammar else self._free()
        return self._answered(self._generate([_message("system", PHRASE), *PHRASE_SHOTS, asked], body, self._tell))

    def _talk(self) -> ModelAnswer:
        messages = [
            _message(each["role"], text_of(each)[-LONGEST_TEXT:])
            for each in self._request.messages
            if each.get("role") in ("system", "user", "assistant") and text_of(each)
        ]
        instructions = [each for each in messages if each["role"] == "system"][:1]
        latest = [each for each in messages if each["role"] != "system"][-4:]
        return self._answered(self._generate([*instructions, *latest], self._free(), self._tell))

    def _free(self) -> dict[str, Any]:
        asked = self._request.response_schema
        return {"response_format": {"type": "json_schema", "json_schema": {"schema": asked["schema"]}}} if asked else {}

    def _tell(self, text: str) -> None:
        def on_loop() -> None:
            if not self.ended.is_set():
                self._emit(text)

        if not self.loop.is_closed():
            self.loop.call_soon_threadsafe(on_loop)

    def _generate(self, messages: list[dict[str, str]], body: dict[str, Any], told: Callable[[str], None]) -> _Said:
        chunks: list[dict[str, Any]] = []

        def take(chunk: dict[str, Any]) -> bool:
            chunks.append(chunk)
            told(_text(chunk))
            return self.ended.is_set()  # true stops the generation

        limit = self._request.max_tokens or ANSWER_TOKENS
        asked = {"messages": messages, "max_tokens": limit, "temperature": self._request.temperature or 0, **body}
        self._server.handle_chat_completions({**asked, "stream": True, "stream_options": {"include_usage": True}}, take)
        return _gathered(chunks)

    def _answered(self, said: _Said, call: tuple[str, str] | None = None) -> ModelAnswer:
        turn = turn_of(self._request.messages) + 1
        calls = (tool_call(f"call_{turn}_1", *call),) if call else ()
        return ModelAnswer(
            content="" if call else said.text.strip(),
            tool_calls=calls,
            finish_reason=finish(said.reason, bool(calls)),
            usage=said.usage,
            cost=0.0,
            model=self._request.model,
        )


def _text(chunk: dict[str, Any]) -> str:
    choices = chunk.get("choices") or [{}]
    return (choices[0].get("delta") or {}).get("content") or ""


def _gathered(chunks: list[dict[str, Any]]) -> _Said:
    reason, usage = None, Usage()
    for chunk in chunks:
        if problem := chunk.get("error"):
            raise ModelFailure(f"The local model cannot answer this: {problem.get('message', problem)}")
        for choice in chunk.get("choices") or ():
            reason = choice.get("finish_reason") or reason
        if counted := chunk.get("usage"):
            cached = (counted.get("prompt_tokens_details") or {}).get("cached_tokens", 0)
            usage = Usage(counted["prompt_tokens"], counted["completion_tokens"], cached)
    return _Said("".join(map(_text, chunks)), reason, usage)


def _message(role: str, text: str) -> dict[str, str]:
    return {"role": role, "content": text}


def _ask_arguments(function: dict[str, Any], fields: list[str], question: str) -> dict[str, str]:
    about = f"{function['name']} - {(function.get('description') or function['name'])[:200]}"
    return _message("user", f"Tool: {about}\nParameters: {', '.join(fields)}\nQuestion: {question}")


def _ask_sentence(question: str, results: list[str]) -> dict[str, str]:
    found = ", ".join(map(readable, results))[:LONGEST_TEXT]
    return _message("user", f"Question: {question}\nResult: {found}")


FILL = "Copy the values of the parameters out of the question, as JSON."
FILL_SHOTS = [
    _message(
        "user",
        "Tool: find_train - Find a train\nParameters: from_station, to_station\n"
        "Question: Is there a train from Madrid to Lyon?",
    ),
    _message("assistant", '{"from_station": "Madrid", "to_station": "Lyon"}'),
    _message("user", "Tool: multiply - Multiply two numbers\nParameters: a, b\nQuestion: How much is 12 times 7?"),
    _message("assistant", '{"a": 12, "b": 7}'),
    _message(
        "user",
        "Tool: search_notes - Search the notes\nParameters: query\nQuestion: Search my notes for the budget meeting",
    ),
    _message("assistant", '{"query": "the budget meeting"}'),
]

PHRASE = "Answer the question in one sentence with the facts of the result."
PHRASE_SHOTS = [
    _message("user", "Question: When does the next train from Madrid to Lyon leave?\nResult: 14:05 from platform 3"),
    _message("assistant", "The next train from Madrid to Lyon is 14:05 from platform 3."),
    _message("user", "Question: How much is 12 times 7?\nResult: 84"),
    _message("assistant", "12 times 7 is 84."),
    _message("user", "Question: Clean my room\nResult: room cleaned, duration: 5 minutes"),
    _message("assistant", "Done: room cleaned, duration 5 minutes."),
]
