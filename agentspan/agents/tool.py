"""A tool: what the user writes (`@tool`), what describes it (`ToolDef`), and the constructors of tools that need no
function."""

import functools
import hashlib
import inspect
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Protocol, TypeVar, overload, runtime_checkable

from agentspan.agents import watching
from agentspan.agents.approval import ApprovalPolicy, people
from agentspan.agents.credentials import checked
from agentspan.agents.exceptions import ConfigurationError
from agentspan.agents.guardrail import as_guardrail
from agentspan.agents.schema import Parameters, parameters_of, schema_of
from agentspan.agents.showing import Shown, bundle
from agentspan.spec.tool import BACK_OFFS

Json = dict[str, Any]
F = TypeVar("F", bound=Callable[..., Any])

DIGEST_CHARS = 16
VALID_RETRY_POLICIES = tuple(BACK_OFFS)


@dataclass
class ToolDef(Shown):
    """A tool as the SDK knows it. `func` is the user's function, None where the server or another process has it.

    `input_schema`, `output_schema`: JSON Schema. `timeout_seconds`: of one attempt. `tool_type`: `worker`, `http`,
    `api`, `mcp`, `human`, `agent_tool`, ... `config`: what that type needs. `retry_policy`: one of
    VALID_RETRY_POLICIES; `retry_count` more attempts after `retry_delay_seconds`. `approval`: when a person must
    approve a call, made of `approval_required`, which may be a function or an ApprovalPolicy. `source_digest`: of the
    function's source when it was described, "" if it had none.
    """

    name: str
    description: str = ""
    input_schema: Json = field(default_factory=dict)
    output_schema: Json = field(default_factory=dict)
    func: Callable[..., Any] | None = None
    approval_required: bool = False
    timeout_seconds: float | None = None
    tool_type: str = "worker"
    config: Json = field(default_factory=dict)
    guardrails: list[Any] = field(default_factory=list)
    isolated: bool = True
    credentials: list[Any] = field(default_factory=list)
    stateful: bool = False
    max_calls: int | None = None
    retry_count: int | None = None
    retry_delay_seconds: float | None = None
    retry_policy: str | None = None
    takes: Parameters | None = field(default=None, repr=False, compare=False)
    approval: ApprovalPolicy | None = None
    source_digest: str = field(default="", repr=False, compare=False)

    def __post_init__(self) -> None:
        self.approval = self.approval or ApprovalPolicy.of(self.approval_required)
        self.approval_required = self.approval is not None
        self.guardrails = [as_guardrail(each) for each in self.guardrails]

    def parameters(self) -> Parameters:
        """What the function takes, read once."""
        if self.takes is None:
            if self.func is None:
                raise TypeError(f"tool {self.name!r} has no function in this process")
            self.takes = parameters_of(self.func)
        return self.takes

    def newest(self) -> "ToolDef":
        """This tool, or its newest definition if a cell or a module has been run again since."""
        key = _key(self.func, self.name) if self.func is not None else None
        return _NEWEST.get(key, self) if key is not None else self


@runtime_checkable
class Tool(Protocol):
    """A function that `@tool` has described; it can still be called directly."""

    _tool_def: ToolDef

    def __call__(self, *args: Any, **kwargs: Any) -> Any: ...


@overload
def tool(func: F) -> F: ...
@overload
def tool(
    func: None = None,
    *,
    name: str | None = None,
    external: bool = False,
    approval_required: bool | Callable[..., Any] | ApprovalPolicy = False,
    timeout_seconds: float | None = None,
    guardrails: list[Any] | None = None,
    isolated: bool = True,
    credentials: list[Any] | None = None,
    stateful: bool = False,
    max_calls: int | None = None,
    retry_count: int | None = None,
    retry_delay_seconds: float | None = None,
    retry_policy: str | None = None,
    description: str | None = None,
) -> Callable[[F], F]: ...
def tool(
    func: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    external: bool = False,
    approval_required: bool | Callable[..., Any] | ApprovalPolicy = False,
    timeout_seconds: float | None = None,
    guardrails: list[Any] | None = None,
    isolated: bool = True,
    credentials: list[Any] | None = None,
    stateful: bool = False,
    max_calls: int | None = None,
    retry_count: int | None = None,
    retry_delay_seconds: float | None = None,
    retry_policy: str | None = None,
    description: str | None = None,
) -> Any:
    """Describe a function (or `async def`, or method) as a tool: `@tool` or `@tool(name=...)`.

    The schema comes from its type hints, defaults and docstring; the description is the docstring. `external`: the
    function runs in another process that serves this name. `approval_required`: a person must approve each call, or
    those for which a function of the arguments says so, or an ApprovalPolicy. `guardrails`: what checks the arguments
    (position "input") or the result ("output"); a Guardrail, or a function of their text. `timeout_seconds`: of one
    attempt. `retry_count` (2), `retry_delay_seconds` (2), `retry_policy` ("linear_backoff"): what happens when it
    raises. `credentials`: names of secrets that a call may read by `get_secret(name)` and in its environment; a
    CredentialFile is one that it reads as a file. Such a tool runs in a process of its own, which has copies of what
    the function uses; with `isolated=False` it runs in this one. The result still can be called directly.
    """
    if retry_policy is not None and retry_policy not in VALID_RETRY_POLICIES:
        raise ValueError(f"retry_policy must be one of {', '.join(VALID_RETRY_POLICIES)}, got {retry_policy!r}")
    scope, approval = _scope(), ApprovalPolicy.of(approval_required)

    def describe(function: Callable[..., Any]) -> Any:
        inner = function.__func__ if isinstance(function, (staticmethod, classmethod)) else function
        takes = parameters_of(inner, scope)
        _check_arguments(approval, takes)
        definition = ToolDef(
            name=name or _name_of(inner),
            description=inspect.cleandoc(description or inner.__doc__ or ""),
            input_schema=takes.schema(inner.__doc__),
            output_schema=_output_schema(takes.returns),
            func=None if external else inner,
            approval_required=approval is not None,
            approval=approval,
            timeout_seconds=timeout_seconds,
            guardrails=list(guardrails or ()),
            isolated=isolated,
            credentials=checked(credentials),
            stateful=stateful,
            max_calls=max_calls,
            retry_count=retry_count,
            retry_delay_seconds=retry_delay_seconds,
            retry_policy=retry_policy,
            takes=takes,
            source_digest="" if external else _source_digest(inner),
        )
        if (key := _key(inner, definition.name)) is not None and not external:
            _tell_of_change(_NEWEST.get(key), definition)
            _NEWEST[key] = definition
        if isinstance(function, (staticmethod, classmethod)) or _is_method(inner):
            return _Method(function, definition)
        return _wrapped(inner, definition)

    return describe if func is None else describe(func)


def _tell_of_change(before: ToolDef | None, after: ToolDef) -> None:
    """In a notebook, a cell that is run again swaps its tool; what agents say of its parameters stays as it was."""
    if before is not None and before.input_schema != after.input_schema and watching.in_kernel():
        warnings.warn(
            f"the parameters of the tool {after.name!r} have changed: the agents that were made before still ask for "
            f"the old ones, so run their cells again",
            UserWarning,
            stacklevel=4,
        )


def get_tool_def(obj: Any) -> ToolDef:
    """The ToolDef of a `@tool` function, a ToolDef or a Conductor `@worker_task` function; else TypeError."""
    if isinstance(obj, ToolDef):
        return obj
    if isinstance(obj, _Method) and obj.is_unbound:
        name = obj._tool_def.name
        raise TypeError(f"{name!r} is a method without its object: pass `object.{name}`, not `Class.{name}`")
    if isinstance(definition := getattr(obj, "_tool_def", None), ToolDef):
        return definition
    if (definition := _conductor_task(obj)) is not None:
        return definition
    what = getattr(obj, "__name__", None) or type(obj).__name__
    raise TypeError(
        f"Expected a @tool-decorated function or a ToolDef, got {what!r}"
        + (f": put @tool above `def {what}`" if inspect.isfunction(obj) else "")
    )


def as_tool(obj: Any) -> Any:
    """A tool as it is; a plain function or method as `@tool` makes it; else TypeError."""
    if isinstance(obj, ToolDef) or hasattr(obj, "_tool_def") or not inspect.isroutine(obj):
        get_tool_def(obj)
        return obj
    if _conductor_task(obj) is not None:
        return obj
    made = tool(obj)
    get_tool_def(made)
    return made


def get_tool_defs(tools: Iterable[Any]) -> list[ToolDef]:
    """`get_tool_def` of each."""
    return [get_tool_def(each) for each in tools]


def http_tool(
    name: str,
    description: str,
    url: str,
    method: str = "GET",
    headers: dict[str, str] | None = None,
    input_schema: Json | None = None,
    accept: list[str] | None = None,
    content_type: str = "application/json",
    credentials: list[Any] | None = None,
    *,
    approval_required: bool | ApprovalPolicy = False,
    guardrails: list[Any] | None = None,
    timeout_seconds: float | None = None,
    max_calls: int | None = None,
    retry_count: int | None = None,
    retry_delay_seconds: float | None = None,
    retry_policy: str | None = None,
) -> ToolDef:
    """A tool that the server performs as an HTTP request to `url`; no process of yours is needed.

    `{name}` in the URL stands for an argument; the others go into the query (GET, HEAD, OPTIONS, DELETE) or the body.
    `${NAME}` in a header stands for a credential, which must be listed in `credentials` (else ValueError). The other
    options are those of `@tool`; an attempt takes 30 s at most unless `timeout_seconds` says otherwise.
    """
    if retry_policy is not None and retry_policy not in VALID_RETRY_POLICIES:
        raise ValueError(f"retry_policy must be one of {', '.join(VALID_RETRY_POLICIES)}, got {retry_policy!r}")
    _check_placeholders(headers, credentials)
    config = {
        "url": url,
        "method": method.upper(),
        "headers": dict(headers or {}),
        "accept": list(accept or ["application/json"]),
        "contentType": content_type,
    }
    return replace(
        _server_tool(name, description, "http", config, input_schema or _EMPTY_OBJECT, credentials),
        approval=ApprovalPolicy.of(approval_required),
        guardrails=list(guardrails or ()),
        timeout_seconds=timeout_seconds,
        max_calls=max_calls,
        retry_count=retry_count,
        retry_delay_seconds=retry_delay_seconds,
        retry_policy=retry_policy,
    )


def api_tool(
    url: str,
    name: str | None = None,
    description: str | None = None,
    headers: dict[str, str] | None = None,
    tool_names: list[str] | None = None,
    max_tools: int = 64,
    credentials: list[Any] | None = None,
) -> ToolDef:
    """The operations of an OpenAPI description at `url` as tools; `tool_names` picks some, at most `max_tools`."""
    _check_placeholders(headers, credentials)
    config = _found_tools("url", url, headers, tool_names, max_tools)
    text = description or f"API tools from {url}"
    return _server_tool(name or "api_tools", text, "api", config, {}, credentials)


def mcp_tool(
    server_url: str,
    name: str | None = None,
    description: str | None = None,
    headers: dict[str, str] | None = None,
    tool_names: list[str] | None = None,
    max_tools: int = 64,
    credentials: list[Any] | None = None,
) -> ToolDef:
    """The tools of the MCP server at `server_url`; `tool_names` picks some, at most `max_tools`."""
    _check_placeholders(headers, credentials)
    config = _found_tools("server_url", server_url, headers, tool_names, max_tools)
    text = description or f"MCP tools from {server_url}"
    return _server_tool(name or "mcp_tools", text, "mcp", config, {}, credentials)


def human_tool(
    name: str,
    description: str,
    input_schema: Json | None = None,
    *,
    deadline_seconds: float | None = None,
    to: str | Sequence[str] | None = None,
    response_schema: Json | None = None,
) -> ToolDef:
    """A tool that asks a person; the default schema takes one `question`.

    `deadline_seconds`: how long to wait for the answer. `to`: whom to ask. `response_schema`: JSON Schema of the form
    that the person fills in; without one the answer is text.
    """
    if deadline_seconds is not None and not deadline_seconds > 0:
        raise ValueError(f"deadline_seconds must be more than 0, got {deadline_seconds!r}")
    schema = input_schema or _required("question", "The question or prompt to present to the human.")
    given = {"deadlineSeconds": deadline_seconds, "to": list(people(to)), "responseSchema": response_schema}
    return _server_tool(name, description, "human", {key: value for key, value in given.items() if value}, schema)


def wait_for_message_tool(name: str, description: str, batch_size: int = 1, blocking: bool = True) -> ToolDef:
    """A tool that takes up to `batch_size` messages (at most 100) from the run's queue, waiting if `blocking`."""
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ValueError(f"batch_size must be a whole number, 1 or more, got {batch_size!r}")
    config: Json = {"batchSize": batch_size}
    if not blocking:
        config["blocking"] = False
    return _server_tool(name, description, "pull_workflow_messages", config, _EMPTY_OBJECT)


def agent_tool(
    agent: Any,
    name: str | None = None,
    description: str | None = None,
    retry_count: int | None = None,
    retry_delay_seconds: float | None = None,
    optional: bool | None = None,
) -> ToolDef:
    """An agent as a tool of another; the default schema takes one `request`."""
    definition = getattr(agent, "_agent_def", None)
    agent = definition.build() if definition is not None else agent
    if not hasattr(agent, "instructions"):
        raise TypeError(f"Expected an Agent or an @agent-decorated function, got {type(agent).__name__}")
    config: Json = {"agent": agent}
    given = {"retryCount": retry_count, "retryDelaySeconds": retry_delay_seconds, "optional": optional}
    config.update({key: value for key, value in given.items() if value is not None})
    text = description or f"Invoke the {agent.name} agent"
    schema = _required("request", "The request or question to send to the agent.")
    return _server_tool(name or agent.name, text, "agent_tool", config, schema)


def image_tool(
    name: str, description: str, llm_provider: str, model: str, input_schema: Json | None = None, **defaults: Any
) -> ToolDef:
    """A tool that makes images; `defaults` are parameters of every call (width, height, ...)."""
    return _media_tool("image", name, description, llm_provider, model, input_schema, defaults)


def audio_tool(
    name: str, description: str, llm_provider: str, model: str, input_schema: Json | None = None, **defaults: Any
) -> ToolDef:
    """A tool that speaks a text."""
    return _media_tool("audio", name, description, llm_provider, model, input_schema, defaults)


def video_tool(
    name: str, description: str, llm_provider: str, model: str, input_schema: Json | None = None, **defaults: Any
) -> ToolDef:
    """A tool that makes videos."""
    return _media_tool("video", name, description, llm_provider, model, input_schema, defaults)


def pdf_tool(
    name: str = "generate_pdf",
    description: str = "Generate a PDF document from markdown text.",
    input_schema: Json | None = None,
    **defaults: Any,
) -> ToolDef:
    """A tool that makes a PDF of Markdown."""
    config = {"taskType": "GENERATE_PDF", **defaults}
    return _server_tool(name, description, "generate_pdf", config, input_schema or MEDIA_SCHEMAS["pdf"])


def index_tool(
    name: str,
    description: str,
    vector_db: str,
    index: str,
    embedding_model_provider: str,
    embedding_model: str,
    namespace: str = "default_ns",
    chunk_size: int | None = None,
    chunk_overlap: int | None = None,
    dimensions: int | None = None,
    input_schema: Json | None = None,
) -> ToolDef:
    """A tool that puts a text into a vector index; `chunk_size` and `chunk_overlap` in characters."""
    config = _index_config("LLM_INDEX_TEXT", vector_db, namespace, index, embedding_model_provider, embedding_model)
    more = {"chunkSize": chunk_size, "chunkOverlap": chunk_overlap, "dimensions": dimensions}
    config.update({key: value for key, value in more.items() if value is not None})
    return _server_tool(name, description, "rag_index", config, input_schema or MEDIA_SCHEMAS["index"])


def search_tool(
    name: str,
    description: str,
    vector_db: str,
    index: str,
    embedding_model_provider: str,
    embedding_model: str,
    namespace: str = "default_ns",
    max_results: int = 5,
    dimensions: int | None = None,
    input_schema: Json | None = None,
) -> ToolDef:
    """A tool that searches a vector index."""
    config = _index_config("LLM_SEARCH_INDEX", vector_db, namespace, index, embedding_model_provider, embedding_model)
    config["maxResults"] = max_results
    if dimensions is not None:
        config["dimensions"] = dimensions
    return _server_tool(name, description, "rag_search", config, input_schema or MEDIA_SCHEMAS["search"])


def clear_discovery_cache() -> None:
    """Forget discovered MCP tools. The server discovers them at each start of a run, so there is nothing to forget."""


def reset_circuit_breaker(name: str) -> None:
    """Close the breaker of one tool. A tool's failures are counted per call by its retry policy and never block other
    calls, so no breaker is ever open."""


def reset_all_circuit_breakers() -> None:
    """Close all breakers; see `reset_circuit_breaker`."""


@dataclass(frozen=True)
class PrefillToolCall:
    """A tool call made before the first turn of the model: the tool's name and its arguments."""

    name: str
    arguments: Json = field(default_factory=dict)


class _Method:
    """A `@tool` in the body of a class: each access through an instance is a tool bound to that instance."""

    def __init__(self, function: Any, definition: ToolDef) -> None:
        self._function, self._tool_def = function, definition
        functools.update_wrapper(self, definition.func or function)

    @property
    def is_unbound(self) -> bool:
        """Does it still need its object?"""
        names = list(inspect.signature(self._function).parameters) if inspect.isfunction(self._function) else []
        return names[:1] in (["self"], ["cls"])

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        function = self._function.__func__ if isinstance(self._function, classmethod) else self._function
        return function(*args, **kwargs)

    def __get__(self, instance: Any, owner: type | None = None) -> Any:
        bound = self._function.__get__(instance, owner)
        if instance is None and not isinstance(self._function, (staticmethod, classmethod)):
            return self
        return _wrapped(bound, _rebound(self._tool_def, bound))


def _rebound(definition: ToolDef, bound: Callable[..., Any]) -> ToolDef:
    return replace(definition, func=bound if definition.func is not None else None)


def _wrapped(function: Callable[..., Any], definition: ToolDef) -> Any:
    """The function with its description; a coroutine function stays one."""
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call(*args: Any, **kwargs: Any) -> Any:
            return await function(*args, **kwargs)

    else:

        @functools.wraps(function)
        def call(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

    call._tool_def = definition  # type: ignore[attr-defined]
    call._repr_mimebundle_ = functools.partial(bundle, definition)  # type: ignore[attr-defined]
    if inspect.isfunction(function):
        function._tool_def = definition  # type: ignore[attr-defined]
    return call


def _is_method(function: Callable[..., Any]) -> bool:
    outer = getattr(function, "__qualname__", "").rpartition(".")[0]
    return bool(outer) and not outer.endswith("<locals>")


def _name_of(function: Callable[..., Any]) -> str:
    name = getattr(function, "__name__", "") or type(function).__name__
    if name == "<lambda>":
        raise ConfigurationError("a lambda has no name: use tool(name=...)(lambda ...)")
    return name


def _key(function: Callable[..., Any] | None, name: str) -> tuple[str, str, str] | None:
    """What a definition that is run again has in common with its former self; None where that cannot be known."""
    module, path = getattr(function, "__module__", None), getattr(function, "__qualname__", "")
    if not module or not path or "<" in path or inspect.ismethod(function) or "." in path:
        return None
    return module, path, name


def _source_digest(function: Callable[..., Any]) -> str:
    """What tells this version of a function's source from others; "" if the source cannot be had."""
    try:
        source = inspect.getsource(function)
    except (OSError, TypeError, SyntaxError, IndexError):
        return ""
    return hashlib.sha256(source.encode()).hexdigest()[:DIGEST_CHARS]


def _scope() -> Json:
    """The names where `@tool` stands, which hints written as text may use."""
    frame = sys._getframe(2)
    return {} if frame.f_locals is frame.f_globals else dict(frame.f_locals)


def _output_schema(hint: Any) -> Json:
    if hint is inspect.Parameter.empty or hint is None or hint is type(None):
        return {}
    try:
        return schema_of(hint)
    except Exception:  # what a tool returns is only documentation, and its type may have no schema at all
        return {}


def _server_tool(
    name: str, description: str, kind: str, config: Json, schema: Json, credentials: list[Any] | None = None
) -> ToolDef:
    return ToolDef(
        name=name,
        description=description,
        input_schema=schema,
        tool_type=kind,
        config=config,
        credentials=checked(credentials),
    )


def _media_tool(
    kind: str, name: str, description: str, provider: str, model: str, schema: Json | None, defaults: Json
) -> ToolDef:
    config = {"taskType": f"GENERATE_{kind.upper()}", "llmProvider": provider, "model": model, **defaults}
    return _server_tool(name, description, f"generate_{kind}", config, schema or MEDIA_SCHEMAS[kind])


def _index_config(task: str, vector_db: str, namespace: str, index: str, provider: str, model: str) -> Json:
    return {
        "taskType": task,
        "vectorDB": vector_db,
        "namespace": namespace,
        "index": index,
        "embeddingModelProvider": provider,
        "embeddingModel": model,
    }


def _found_tools(key: str, url: str, headers: dict[str, str] | None, names: list[str] | None, most: int) -> Json:
    config: Json = {key: url, "max_tools": most}
    if headers:
        config["headers"] = dict(headers)
    if names is not None:
        config["tool_names"] = list(names)
    return config


def _check_arguments(approval: ApprovalPolicy | None, takes: Parameters) -> None:
    """What an approval policy looks at must be parameters of the tool."""
    names = [each.name for each in takes.fields]
    missing = [] if approval is None or takes.open else [each for each in approval.arguments if each not in names]
    if missing:
        raise ValueError(f"the approval policy looks at {missing[0]!r}, but the tool takes: {', '.join(names)}")


def _check_placeholders(headers: dict[str, str] | None, credentials: list[Any] | None) -> None:
    """Every `${NAME}` in the headers must be a declared credential."""
    declared = {str(getattr(each, "env_var", each)) for each in credentials or ()}
    missing = [name for name in re.findall(r"\$\{(\w+)}", str(headers or "")) if name not in declared]
    if missing:
        raise ValueError(f"the headers use {', '.join(missing)}, which credentials= does not list")


def _conductor_task(obj: Any) -> ToolDef | None:
    """A function that conductor-python's `@worker_task` has registered, if that package is loaded at all."""
    handler = sys.modules.get("conductor.client.automator.task_handler")
    registered = getattr(handler, "_decorated_functions", None) or {}
    inner = inspect.unwrap(obj) if callable(obj) else obj
    for (name, _), entry in registered.items():
        function = entry.get("func") if isinstance(entry, dict) else None
        if function is not None and (function is obj or inspect.unwrap(function) is inner):
            takes = parameters_of(inner)
            text = inspect.cleandoc(inner.__doc__ or "")
            return ToolDef(name, text, takes.schema(inner.__doc__), _output_schema(takes.returns), inner, takes=takes)
    return None


def _required(name: str, description: str) -> Json:
    return {
        "type": "object",
        "properties": {name: {"type": "string", "description": description}},
        "required": [name],
    }


def _media(required: str, **more: Any) -> Json:
    """A schema from names to types: `str`, `int`, `float`, `bool` or a default that has the type."""
    names = {str: "string", int: "integer", float: "number", bool: "boolean"}
    properties: Json = {name: {"type": "string"} for name in required.split()}
    for name, kind in more.items():
        if isinstance(kind, list):
            properties[name] = {"type": "string", "enum": kind, "default": kind[0]}
        elif isinstance(kind, type):
            properties[name] = {"type": names[kind]}
        else:
            properties[name] = {"type": names[type(kind)], "default": kind}
    return {"type": "object", "properties": properties, "required": required.split()}


_EMPTY_OBJECT: Json = {"type": "object", "properties": {}}
_NEWEST: dict[tuple[str, str, str], ToolDef] = {}
"""The newest definition of each tool at the top of a module or notebook, so that a cell that is run again counts."""

VOICES = ["alloy", "echo", "fable", "onyx", "nova", "shimmer"]

MEDIA_SCHEMAS: dict[str, Json] = {
    "image": _media("prompt", style=str, width=1024, height=1024, size=str, n=1, outputFormat="png", weight=float),
    "audio": _media("text", voice=VOICES, speed=1.0, responseFormat="mp3", n=1),
    "video": _media(
        "prompt", inputImage=str, duration=5, width=1280, height=720, fps=24, outputFormat="mp4", style=str,
        motion=str, seed=int, guidanceScale=float, aspectRatio=str, negativePrompt=str, personGeneration=str,
        resolution=str, generateAudio=bool, size=str, n=1, maxDurationSeconds=int, maxCostDollars=float,
    ),
    "pdf": _media("markdown", pageSize="A4", theme="default", baseFontSize=11),
    "index": _media("text docId", metadata=str),
    "search": _media("query"),
}  # fmt: skip
MEDIA_SCHEMAS["index"]["properties"]["metadata"] = {"type": "object"}
