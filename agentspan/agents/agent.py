"""An agent as the user writes it: model, instructions, tools, sub-agents."""

import inspect
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from agentspan.agents.budget import Budget
from agentspan.agents.callback import CallbackHandler
from agentspan.agents.check import check_agent
from agentspan.agents.claude_code import ClaudeCode
from agentspan.agents.code import CliConfig, CodeExecutionConfig, code_tool, command_tool
from agentspan.agents.credentials import checked
from agentspan.agents.guardrail import as_guardrail
from agentspan.agents.memory import ConversationMemory, SemanticMemory
from agentspan.agents.showing import Shown
from agentspan.agents.termination import TerminationCondition
from agentspan.agents.tool import agent_tool, as_tool

Json = dict[str, Any]

NAME = re.compile(r"^[a-zA-Z_][a-zA-Z0-9_-]*$")


class Strategy(StrEnum):
    """The rule that chooses who speaks next among sub-agents."""

    HANDOFF = "handoff"
    SEQUENTIAL = "sequential"
    PARALLEL = "parallel"
    ROUTER = "router"
    ROUND_ROBIN = "round_robin"
    RANDOM = "random"
    SWARM = "swarm"
    MANUAL = "manual"
    PLAN_EXECUTE = "plan_execute"


@dataclass(frozen=True)
class PromptTemplate:
    """A prompt kept on the server, with values for its `${variables}`."""

    name: str
    variables: Json = field(default_factory=dict)
    version: int | None = None

    def to_config(self) -> Json:
        """The template on the wire."""
        config: Json = {"type": "prompt_template", "name": self.name}
        if self.variables:
            config["variables"] = dict(self.variables)
        return config if self.version is None else {**config, "version": self.version}


class Agent(Shown):
    """One agent and its sub-agents; plain data with functions in it, made once and run any number of times.

    `name`: letters, digits, `_` and `-`, not beginning with a digit or `-`. `model`: `"provider/model"`; empty refers
    to an agent deployed elsewhere. `instructions`: the system prompt, a PromptTemplate, a function of no arguments
    that is called when the agent is sent to the server, or one of `prompt`, `context` or `agent` (or `async def`) that
    is called in each run. `tools`: `@tool` functions, ToolDefs, or plain functions, which become tools. `agents` and
    `strategy`: sub-agents and who of them speaks when. `max_turns`: at most so many calls of the model, 1 or more.
    `max_tokens`: of one answer. `timeout_seconds`: of the whole run, 0 for none. `dependencies`: objects that tools
    get in `ToolContext`. `budget`: what a whole run may use. `fail_fast`: one failed branch or part fails the whole.
    `width`: at most so many branches or agent tools run at once. `fallback`: models to go on with when the model fails.
    `credentials`: the names of secrets for those of its functions that declare none themselves.

    Raises ValueError for a value that cannot be, TypeError for a wrong type.
    """

    def __init__(
        self,
        name: str,
        model: "str | ClaudeCode" = "",
        instructions: "str | Callable[[], Any] | PromptTemplate" = "",
        tools: list[Any] | None = None,
        agents: list[Any] | None = None,
        strategy: Strategy | str = "handoff",
        router: Any = None,
        output_type: Any = None,
        guardrails: list[Any] | None = None,
        memory: ConversationMemory | SemanticMemory | None = None,
        dependencies: Json | None = None,
        max_turns: int = 25,
        max_tokens: int | None = None,
        timeout_seconds: float = 0,
        temperature: float | None = None,
        stop_when: Callable[..., Any] | None = None,
        termination: TerminationCondition | None = None,
        handoffs: list[Any] | None = None,
        allowed_transitions: dict[str, list[str]] | None = None,
        introduction: str | None = None,
        metadata: Json | None = None,
        local_code_execution: bool = False,
        allowed_languages: list[str] | None = None,
        allowed_commands: list[str] | None = None,
        code_execution: CodeExecutionConfig | None = None,
        cli_commands: bool = False,
        cli_allowed_commands: list[str] | None = None,
        cli_config: CliConfig | None = None,
        planner: Any = False,
        callbacks: list[CallbackHandler] | None = None,
        before_agent_callback: Callable[..., Any] | None = None,
        after_agent_callback: Callable[..., Any] | None = None,
        before_model_callback: Callable[..., Any] | None = None,
        after_model_callback: Callable[..., Any] | None = None,
        include_contents: str | None = None,
        thinking_budget_tokens: int | None = None,
        required_tools: list[str] | None = None,
        gate: Any = None,
        base_url: str | None = None,
        credentials: list[Any] | None = None,
        stateful: bool = False,
        *,
        description: str = "",
        reasoning_effort: str | None = None,
        enable_planning: bool | None = None,
        planner_context: Any = None,
        plan_source: Any = None,
        fallback: Any = None,
        fallback_max_turns: int | None = None,
        context_window_budget: int | None = None,
        synthesize: bool | None = None,
        masked_fields: list[str] | None = None,
        prefill_tools: list[Any] | None = None,
        budget: Budget | Json | None = None,
        fail_fast: bool = False,
        width: int | None = None,
    ) -> None:
        if not isinstance(name, str) or not name:
            raise ValueError("an agent needs a name")
        if not NAME.match(name):
            raise ValueError(
                f"invalid agent name {name!r}: only letters, digits, '_' and '-', not first a digit or '-'"
            )
        if strategy not in [each.value for each in Strategy]:
            raise ValueError(f"invalid strategy {strategy!r}: must be one of {', '.join(Strategy)}")
        if max_turns < 1:
            raise ValueError(f"max_turns must be 1 or more, got {max_turns}")
        if strategy == "router" and router is None:
            raise ValueError("strategy='router' needs router=: an Agent or a function that returns an agent's name")
        self.name = name
        self.model = model.to_model_string() if isinstance(model, ClaudeCode) else model
        self.permission_mode = model.permission_mode if isinstance(model, ClaudeCode) else None
        self.instructions = instructions
        self.tools = [each if isinstance(each, str) else as_tool(each) for each in tools or ()]
        self.agents = [resolve_agent(each, self.model) for each in agents or ()]
        self.strategy = Strategy(strategy)
        self.router = router
        self.output_type = output_type
        self.guardrails = [as_guardrail(each) for each in guardrails or ()]
        self.memory = memory
        self.dependencies = dependencies if dependencies is not None else {}
        self.max_turns = max_turns
        self.max_tokens = max_tokens
        self.timeout_seconds = timeout_seconds
        self.temperature = temperature
        self.stop_when = stop_when
        self.termination = termination
        self.handoffs = list(handoffs or ())
        self.allowed_transitions = allowed_transitions
        self.introduction = introduction
        self.metadata = dict(metadata or {})
        self.local_code_execution = local_code_execution
        self.allowed_languages = list(allowed_languages or ["python"])
        self.allowed_commands = list(allowed_commands or ())
        self.code_execution = code_execution
        self.cli_commands = cli_commands
        self.cli_allowed_commands = list(cli_allowed_commands or ())
        self.cli_config = cli_config
        self.planner = planner
        self.callbacks = list(callbacks or ())
        self.before_agent_callback = before_agent_callback
        self.after_agent_callback = after_agent_callback
        self.before_model_callback = before_model_callback
        self.after_model_callback = after_model_callback
        self.include_contents = include_contents
        self.thinking_budget_tokens = thinking_budget_tokens
        self.required_tools = list(required_tools or ())
        self.gate = gate
        self.base_url = base_url
        self.credentials = checked(credentials)
        self.stateful = stateful
        self.description = description
        self.reasoning_effort = reasoning_effort
        self.enable_planning = enable_planning
        self.planner_context = planner_context
        self.plan_source = plan_source
        self.fallback = fallback
        self.fallback_max_turns = fallback_max_turns
        self.context_window_budget = context_window_budget
        self.synthesize = synthesize
        self.masked_fields = list(masked_fields or ())
        self.prefill_tools = list(prefill_tools or ())
        self.budget = Budget.of(budget) if budget is not None else None
        self.fail_fast = fail_fast
        self.width = width
        self._add_own_tools()
        check_agent(self)
        self._warn()

    @property
    def external(self) -> bool:
        """Does it refer to an agent deployed elsewhere?"""
        return not self.model and not self.agents

    @property
    def is_claude_code(self) -> bool:
        """Is it run by Claude Code?"""
        return self.model.startswith("claude-code")

    def legacy_callbacks(self) -> dict[str, Callable[..., Any] | None]:
        """The callables of the deprecated parameters, by the wire's name of their position."""
        return {
            "before_agent": self.before_agent_callback,
            "after_agent": self.after_agent_callback,
            "before_model": self.before_model_callback,
            "after_model": self.after_model_callback,
        }

    def __rshift__(self, other: Any) -> "Agent":
        """`a >> b >> c`: one after the other, each with what the one before it said."""
        stages = [*_stages(self), *_stages(resolve_agent(other, self.model))]
        name = "_".join(stage.name for stage in stages)
        return Agent(name=name, model=self.model, agents=stages, strategy=Strategy.SEQUENTIAL)

    def __repr__(self) -> str:
        parts = [f"name={self.name!r}"]
        parts += [f"model={self.model!r}"] if self.model else []
        parts += [f"tools={len(self.tools)}"] if self.tools else []
        if self.agents:
            parts += [f"agents={[agent.name for agent in self.agents]}", f"strategy={str(self.strategy)!r}"]
        return f"Agent({', '.join(parts)})"

    def _warn(self) -> None:
        if any(function is not None for function in self.legacy_callbacks().values()):
            warnings.warn(
                "before_/after_agent_/model_callback are deprecated: use callbacks=[CallbackHandler()]",
                DeprecationWarning,
                stacklevel=3,
            )

    def _add_own_tools(self) -> None:
        """The tools that come with code execution and with command-line programs."""
        if self.code_execution is None and self.local_code_execution:
            self.code_execution = CodeExecutionConfig(True, self.allowed_languages, self.allowed_commands)
        if self.code_execution is not None and self.code_execution.enabled:
            self.tools.append(code_tool(self.name))
        if self.cli_config is None and (self.cli_commands or self.cli_allowed_commands):
            self.cli_config = CliConfig(True, self.cli_allowed_commands)
        if self.cli_config is not None and self.cli_config.enabled:
            self.tools.append(command_tool(self.name))


@dataclass
class AgentDef:
    """What `@agent` attaches to a function as `_agent_def`: the parameters of its Agent."""

    name: str
    func: Callable[..., Any]
    model: str = ""
    options: Json = field(default_factory=dict)

    def build(self, model: str = "") -> Agent:
        """The Agent, with `model` if it has none of its own.

        The instructions are what the function returns, or its docstring if it returns nothing.
        """
        return Agent(self.name, self.model or model, self.func, **self.options)


def agent(
    func: Callable[..., Any] | None = None,
    *,
    name: str | None = None,
    model: str = "",
    tools: list[Any] | None = None,
    guardrails: list[Any] | None = None,
    agents: list[Any] | None = None,
    strategy: Strategy | str = "handoff",
    max_turns: int = 25,
    max_tokens: int | None = None,
    temperature: float | None = None,
    metadata: Json | None = None,
    local_code_execution: bool = False,
    allowed_languages: list[str] | None = None,
    allowed_commands: list[str] | None = None,
    code_execution: CodeExecutionConfig | None = None,
    cli_commands: bool = False,
    cli_config: CliConfig | None = None,
    cli_allowed_commands: list[str] | None = None,
    credentials: list[Any] | None = None,
    **options: Any,
) -> Any:
    """Make a function an agent: `@agent` or `@agent(model=...)`; `options` are further parameters of Agent.

    The function returns the instructions; if it returns nothing, its docstring is the instructions. It can be run
    directly, or be a sub-agent: then, without a model of its own, it takes its parent's.
    """
    given = {
        "tools": tools,
        "guardrails": guardrails,
        "agents": agents,
        "strategy": strategy,
        "max_turns": max_turns,
        "max_tokens": max_tokens,
        "temperature": temperature,
        "metadata": metadata,
        "local_code_execution": local_code_execution,
        "allowed_languages": allowed_languages,
        "allowed_commands": allowed_commands,
        "code_execution": code_execution,
        "cli_commands": cli_commands,
        "cli_config": cli_config,
        "cli_allowed_commands": cli_allowed_commands,
        "credentials": credentials,
        **options,
    }
    if unknown := set(given) - set(inspect.signature(Agent).parameters):
        raise TypeError(f"@agent got unknown parameters: {', '.join(sorted(unknown))}")

    def describe(function: Callable[..., Any]) -> Callable[..., Any]:
        definition = AgentDef(name or function.__name__, function, model, given)
        function._agent_def = definition  # type: ignore[attr-defined]
        return function

    return describe if func is None else describe(func)


def resolve_agent(value: Any, model: str = "") -> Agent:
    """The Agent of an Agent or an `@agent` function, which takes `model` if it has none; else TypeError."""
    if isinstance(value, Agent):
        return value
    if isinstance(definition := getattr(value, "_agent_def", None), AgentDef):
        return definition.build(model)
    raise TypeError(f"Expected an Agent or an @agent-decorated function, got {type(value).__name__}")


def instructions_of(agent: Agent) -> str | Json | None:
    """The instructions as they go over the wire: text, a template, or the task that makes them; None for none."""
    given = agent.instructions
    if isinstance(given, PromptTemplate):
        return given.to_config()
    if not callable(given):
        return str(given) if given else None
    if are_made_per_run(given):
        return {"_worker_ref": f"{agent.name}_instructions"}
    if needed := _required_parameters(given):
        raise TypeError(
            f"the instructions of agent {agent.name!r} are a function that needs {', '.join(needed)}; "
            f"it may take {', '.join(GIVEN_TO_INSTRUCTIONS)}, or nothing"
        )
    said = given()
    if inspect.isawaitable(said):
        said.close() if inspect.iscoroutine(said) else None
        raise TypeError(f"the instructions of agent {agent.name!r} return a coroutine; write them as `async def`")
    if said is None:
        said = inspect.getdoc(given)
    if isinstance(said, PromptTemplate):
        return said.to_config()
    return str(said) if said else None


def are_made_per_run(instructions: Any) -> bool:
    """Are these instructions a function that each run calls, with what it is about?"""
    if not callable(instructions) or isinstance(instructions, PromptTemplate):
        return False
    if inspect.iscoroutinefunction(instructions):
        return True
    needed = _required_parameters(instructions)
    return bool(needed) and set(needed) <= set(GIVEN_TO_INSTRUCTIONS)


def scatter_gather(
    name: str,
    worker: Any,
    *,
    model: str | None = None,
    instructions: str = "",
    tools: list[Any] | None = None,
    retry_count: int | None = None,
    retry_delay_seconds: float | None = None,
    fail_fast: bool = False,
    **kwargs: Any,
) -> Agent:
    """An agent that splits its task, gives each part to `worker` as a tool, and puts the answers together.

    `fail_fast`: one failed part fails the whole. `kwargs` are further parameters of Agent: `width` says how many parts
    run at once, `timeout_seconds` is 300 unless given.
    """
    worker = resolve_agent(worker, model or "")
    part = agent_tool(
        worker,
        retry_count=retry_count,
        retry_delay_seconds=retry_delay_seconds,
        optional=False if fail_fast else None,
    )
    prompt = SCATTER_GATHER.format(tool=part.name)
    return Agent(
        name=name,
        model=model or worker.model,
        instructions=f"{prompt}\n\n{instructions}" if instructions else prompt,
        tools=[part, *(tools or ())],
        fail_fast=fail_fast,
        **{"timeout_seconds": 300, **kwargs},
    )


def _stages(agent: Agent) -> list[Agent]:
    """The stages of a plain pipeline; an agent with more to it than its stages stays one stage."""
    if agent.agents and agent.strategy is Strategy.SEQUENTIAL and not _has_more(agent):
        return agent.agents
    return [agent]


def _has_more(agent: Agent) -> bool:
    return bool(agent.instructions or agent.guardrails or agent.tools or agent.gate or agent.termination)


def _required_parameters(function: Callable[..., Any]) -> list[str]:
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return []
    variable = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return [each.name for each in parameters if each.default is each.empty and each.kind not in variable]


GIVEN_TO_INSTRUCTIONS = ("prompt", "context", "agent")
"""What instructions that are made per run may ask for: the user's prompt, the shared state, the agent's name."""

SCATTER_GATHER = """You coordinate parallel work.
1. Split the task into independent parts.
2. Call the tool {tool} once for each part, all in one turn, so that they run in parallel. Each call must say \
everything that is needed: the tool sees nothing else.
3. When all answers are there, put them together into one answer to the task."""
