"""The public surface: every name is there, what is built works, what is not built says so when it is used."""

import asyncio
import importlib
import inspect
import os
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

import agentspan.agents as agents
from agentspan.agents import (
    Agent,
    AgentRuntime,
    CliConfig,
    CodeExecutionConfig,
    HandoffCondition,
    audio_tool,
    image_tool,
    index_tool,
    pdf_tool,
    search_tool,
    video_tool,
)

CONTRACT = [
    "Agent",
    "AgentDef",
    "agent",
    "PromptTemplate",
    "ConfigurationError",
    "Strategy",
    "scatter_gather",
    "tool",
    "ToolDef",
    "ToolContext",
    "get_tool_def",
    "get_tool_defs",
    "http_tool",
    "api_tool",
    "mcp_tool",
    "human_tool",
    "wait_for_message_tool",
    "agent_tool",
    "image_tool",
    "audio_tool",
    "video_tool",
    "pdf_tool",
    "index_tool",
    "search_tool",
    "clear_discovery_cache",
    "reset_circuit_breaker",
    "reset_all_circuit_breakers",
    "TerminalToolError",
    "ToolSerializationError",
    "Guardrail",
    "GuardrailResult",
    "GuardrailDef",
    "guardrail",
    "RegexGuardrail",
    "LLMGuardrail",
    "OnFail",
    "Position",
    "TerminationResult",
    "TerminationCondition",
    "TextMentionTermination",
    "StopMessageTermination",
    "MaxMessageTermination",
    "TokenUsageTermination",
    "HandoffCondition",
    "OnToolResult",
    "OnTextMention",
    "OnCondition",
    "CallbackHandler",
    "ConversationMemory",
    "SemanticMemory",
    "MemoryStore",
    "InMemoryStore",
    "MemoryEntry",
    "ExecutionResult",
    "CodeExecutor",
    "LocalCodeExecutor",
    "DockerCodeExecutor",
    "JupyterCodeExecutor",
    "ServerlessCodeExecutor",
    "CodeExecutionConfig",
    "CommandValidator",
    "CliConfig",
    "get_credential",
    "resolve_credentials",
    "CredentialFile",
    "CredentialNotFoundError",
    "CredentialAuthError",
    "CredentialRateLimitError",
    "CredentialServiceError",
    "skill",
    "load_skills",
    "SkillLoadError",
    "ClaudeCode",
    "PermissionMode",
    "UserProxyAgent",
    "GPTAssistantAgent",
    "configure",
    "run",
    "start",
    "stream",
    "plan",
    "deploy",
    "serve",
    "resume",
    "shutdown",
    "run_async",
    "start_async",
    "stream_async",
    "deploy_async",
    "resume_async",
    "AgentRuntime",
    "AgentConfig",
    "AgentResult",
    "AgentHandle",
    "AgentStatus",
    "AgentStream",
    "AsyncAgentStream",
    "AgentEvent",
    "EventType",
    "Status",
    "FinishReason",
    "TokenUsage",
    "DeploymentInfo",
    "AgentspanError",
    "AgentAPIError",
    "AgentNotFoundError",
    "discover_agents",
    "is_tracing_enabled",
    "trace_agent_run",
    "trace_compile",
    "trace_llm_call",
    "trace_tool_call",
    "trace_handoff",
    "record_token_usage",
]

OWN = [
    "attach",
    "plan_async",
    "serve_async",
    "shutdown_async",
    "WorkerMissingError",
    "ServerUnreachableError",
    "ToolArgumentError",
    "RunInfo",
    "RunSettings",
    "Runs",
    "runs",
    "runs_async",
    "PrefillToolCall",
    "Schedule",
    "ScheduleInfo",
    "ScheduleError",
    "ScheduleNameConflict",
    "ScheduleNotFound",
    "InvalidCronExpression",
    "get_secret",
    "ApprovalPolicy",
    "Budget",
    "AgentConflictError",
    "SessionBusyError",
    "HumanNeededError",
    "MessageStatus",
    "Request",
    "inbox",
    "inbox_async",
    "Action",
    "Context",
    "Generate",
    "Op",
    "Plan",
    "Ref",
    "Step",
    "Validation",
    "coerce_plan",
    "compare",
    "compare_async",
    "Comparison",
    "plan_execute",
]

ELSEWHERE = {
    "agentspan.agents": ["format_prompt_with_params", "format_skill_params"],
    "agentspan.agents.gate": ["TextGate"],
    "agentspan.agents.handoff": ["HandoffCondition", "OnToolResult", "OnTextMention", "OnCondition"],
    "agentspan.agents.langchain": ["create_agent"],
    "agentspan.agents.frameworks": ["detect_framework", "serialize_agent", "WorkerInfo"],
    "agentspan.agents.frameworks.langgraph": ["human_task"],
    "agentspan.agents.runtime": ["AgentRuntime", "AgentConfig"],
    "agentspan.agents.runtime.credentials": [
        "CredentialFile", "get_credential", "WorkerCredentialFetcher", "SubprocessIsolator", "CredentialNotFoundError",
        "CredentialAuthError", "CredentialRateLimitError", "CredentialServiceError",
    ],
    "agentspan.agents.testing": [
        "mock_run", "MockEvent", "expect", "AgentResultExpectation", "record", "replay", "validate_strategy",
        "StrategyViolation", "CorrectnessEval", "EvalCase", "EvalCaseResult", "EvalSuiteResult",
        "assert_output_satisfies", "cassette", "replay_run", "LocalEngine", "stored",
    ],
    "agentspan.agents.runner": ["Runner", "RunResult", "RunResultStreaming", "function_tool"],
    "agentspan.agents.schedules": ["list", "get", "pause", "resume", "delete", "run_now", "preview_next", "save"],
}  # fmt: skip


def test_the_package_exports_the_contract_and_a_few_names_of_its_own() -> None:
    assert sorted(agents.__all__) == sorted([*CONTRACT, *OWN])
    assert len(agents.__all__) == len(set(agents.__all__))


@pytest.mark.parametrize("module", ELSEWHERE)
def test_a_module_has_its_names(module: str) -> None:
    for name in ELSEWHERE[module]:
        assert hasattr(importlib.import_module(module), name), name


def test_every_public_name_tells_what_it_is() -> None:
    silent = [name for name in agents.__all__ if not inspect.getdoc(getattr(agents, name))]
    assert silent == []
    for cls in (AgentRuntime, agents.AgentHandle, agents.AgentStream, agents.AsyncAgentStream):
        for name, member in inspect.getmembers(cls, callable):
            if not name.startswith("_"):
                assert inspect.getdoc(member), f"{cls.__name__}.{name}"


def test_functions_that_share_a_module_s_name_stay_functions() -> None:
    code = (
        "import agentspan.agents.tool, agentspan.agents.guardrail, agentspan.agents as a; a.tool(lambda: 1, name='x')"
    )
    code += "; assert callable(a.agent) and callable(a.guardrail) and callable(a.skill)"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=30)


def test_the_import_is_light() -> None:
    code = (
        "import sys, agentspan.agents;"
        "heavy = 'tornado sqlalchemy psycopg litellm panel httpx pydantic IPython'.split();"
        "print([name for name in heavy if name in sys.modules])"
    )
    said = subprocess.run([sys.executable, "-c", code], check=True, timeout=30, capture_output=True, text=True)
    assert said.stdout.strip() == "[]"


def test_the_import_starts_nothing() -> None:
    code = "import threading, agentspan.agents; print(threading.active_count())"
    said = subprocess.run([sys.executable, "-c", code], check=True, timeout=30, capture_output=True, text=True)
    assert (said.stdout.strip(), said.stderr) == ("1", "")


UNBUILT: dict[str, Callable[[], Any]] = {
    "skill": lambda: agents.skill("."),
    "load_skills": lambda: agents.load_skills("."),
    "format_skill_params": lambda: agents.format_skill_params({}),
    "format_prompt_with_params": lambda: agents.format_prompt_with_params("", {}),
    "LocalCodeExecutor": lambda: agents.LocalCodeExecutor().execute("1"),
    "DockerCodeExecutor": lambda: agents.DockerCodeExecutor().execute("1"),
    "JupyterCodeExecutor": lambda: agents.JupyterCodeExecutor().execute("1"),
    "JupyterCodeExecutor.shutdown": lambda: agents.JupyterCodeExecutor().shutdown(),
    "ServerlessCodeExecutor": lambda: agents.ServerlessCodeExecutor("http://x").execute("1"),
    "CodeExecutor.as_tool": lambda: agents.LocalCodeExecutor().as_tool(),
    "CommandValidator": lambda: agents.CommandValidator(["ls"]).validate("import os"),
    "create_agent": lambda: importlib.import_module("agentspan.agents.langchain").create_agent(),
    "serialize_agent": lambda: importlib.import_module("agentspan.agents.frameworks").serialize_agent(object()),
}


@pytest.mark.parametrize("name", UNBUILT)
def test_a_function_that_is_not_built_says_so(name: str) -> None:
    with pytest.raises(NotImplementedError, match=r"is not available in this version of agentspan yet$"):
        UNBUILT[name]()


def helper(**more: Any) -> Agent:
    return Agent(**{"name": "helper", "model": "scripted/x", **more})


UNBUILT_AGENTS: dict[str, Callable[[], Any]] = {
    "code execution": lambda: helper(local_code_execution=True),
    "code_execution": lambda: helper(code_execution=CodeExecutionConfig()),
    "cli": lambda: helper(cli_config=CliConfig()),
    "cli_allowed_commands": lambda: helper(cli_allowed_commands=["ls"]),
    "claude code": lambda: Agent("coder", agents.ClaudeCode("opus"), tools=["Read"]),
    "image_tool": lambda: helper(tools=[image_tool("h", "d", "openai", "m")]),
    "audio_tool": lambda: helper(tools=[audio_tool("h", "d", "openai", "m")]),
    "video_tool": lambda: helper(tools=[video_tool("h", "d", "openai", "m")]),
    "pdf_tool": lambda: helper(tools=[pdf_tool()]),
    "index_tool": lambda: helper(tools=[index_tool("h", "d", "pg", "i", "openai", "e")]),
    "search_tool": lambda: helper(tools=[search_tool("h", "d", "pg", "i", "openai", "e")]),
}


@pytest.mark.parametrize("name", UNBUILT_AGENTS)
def test_an_agent_with_a_feature_that_is_not_built_is_refused_before_it_runs(name: str) -> None:
    runtime = AgentRuntime(server_url="http://127.0.0.1:1")
    agent = UNBUILT_AGENTS[name]()
    for use in (runtime.run, runtime.start, runtime.stream):
        with pytest.raises(NotImplementedError) as caught:
            use(agent, "hi")
        assert str(caught.value).endswith("yet")
    with pytest.raises(NotImplementedError):
        runtime.plan(agent)


def test_an_agent_of_another_framework_is_refused_by_name() -> None:
    graph = type("CompiledStateGraph", (), {})()
    with pytest.raises(NotImplementedError, match="langgraph"):
        AgentRuntime(server_url="http://127.0.0.1:1").run(graph, "hi")


def test_a_handoff_condition_of_one_s_own_must_say_when() -> None:
    with pytest.raises(NotImplementedError):
        HandoffCondition("a").should_handoff({})


TWINS = {
    AgentRuntime: """run start stream resume runs plan deploy
        versions rollback diff save_prompt serve prepare get_status respond approve reject inbox
        send_message message_status timeline moment why pause unpause cancel stop signal continue_run fork retry
        export import_run shutdown""",
    agents.AgentHandle: """get_status respond approve reject select finish requests send send_message message_status
        pause resume cancel stop signal continue_with fork retry steps timeline moment why events join""",
    agents.Request: "answer approve reject edit select link",
}


@pytest.mark.parametrize("owner", TWINS, ids=lambda owner: owner.__name__)
def test_each_method_has_a_twin_with_the_same_parameters(owner: type) -> None:
    for name in TWINS[owner].split():
        sync, twin = getattr(owner, name), getattr(owner, f"{name}_async")
        assert inspect.signature(sync).parameters == inspect.signature(twin).parameters, name
        assert inspect.iscoroutinefunction(twin), name
        assert not inspect.iscoroutinefunction(sync), name


def test_there_is_no_twin_without_its_method() -> None:
    for owner, names in TWINS.items():
        alone = {name for name in dir(owner) if name.endswith("_async") and not name.startswith("_")}
        assert alone - {f"{name}_async" for name in names.split()} <= {"stream_async"}


def test_streams_have_the_same_methods() -> None:
    for name in ("respond", "approve", "reject", "send", "get_result"):
        sync, twin = getattr(agents.AgentStream, name), getattr(agents.AsyncAgentStream, name)
        assert inspect.signature(sync).parameters == inspect.signature(twin).parameters


def test_functions_of_the_module_have_twins() -> None:
    for name in ["run", "start", "stream", "resume", "plan", "deploy", "serve", "inbox", "compare", "shutdown"]:
        sync, twin = getattr(agents, name), getattr(agents, f"{name}_async")
        assert inspect.signature(sync).parameters == inspect.signature(twin).parameters, name
        assert asyncio.iscoroutinefunction(twin)


def test_run_start_and_stream_take_the_same_parameters() -> None:
    wanted = inspect.signature(AgentRuntime.run).parameters
    for name in ("start", "stream"):
        taken = {**inspect.signature(getattr(AgentRuntime, name)).parameters}
        taken.pop("handle", None)
        assert list(taken) == list(wanted), name
        assert {key: each.annotation for key, each in taken.items()} == {
            key: each.annotation for key, each in wanted.items()
        }


SIGNATURES = {
    "Agent": """name model='' instructions='' tools=None agents=None strategy='handoff' router=None output_type=None
        guardrails=None memory=None dependencies=None max_turns=25 max_tokens=None timeout_seconds=0 temperature=None
        stop_when=None termination=None handoffs=None allowed_transitions=None introduction=None metadata=None
        local_code_execution=False allowed_languages=None allowed_commands=None code_execution=None cli_commands=False
        cli_allowed_commands=None cli_config=None planner=False callbacks=None before_agent_callback=None
        after_agent_callback=None before_model_callback=None after_model_callback=None include_contents=None
        thinking_budget_tokens=None required_tools=None gate=None base_url=None credentials=None stateful=False""",
    "tool": """func=None name=None external=False approval_required=False timeout_seconds=None guardrails=None
        isolated=True credentials=None stateful=False""",
    "http_tool": """name description url method='GET' headers=None input_schema=None accept=None
        content_type='application/json' credentials=None""",
    "api_tool": "url name=None description=None headers=None tool_names=None max_tools=64 credentials=None",
    "mcp_tool": "server_url name=None description=None headers=None tool_names=None max_tools=64 credentials=None",
    "human_tool": "name description input_schema=None",
    "wait_for_message_tool": "name description batch_size=1 blocking=True",
    "agent_tool": "agent name=None description=None retry_count=None retry_delay_seconds=None optional=None",
    "image_tool": "name description llm_provider model input_schema=None defaults",
    "index_tool": """name description vector_db index embedding_model_provider embedding_model namespace='default_ns'
        chunk_size=None chunk_overlap=None dimensions=None input_schema=None""",
    "scatter_gather": """name worker model=None instructions='' tools=None retry_count=None retry_delay_seconds=None
        fail_fast=False kwargs""",
    "Guardrail": "func=None position='output' on_fail='retry' name=None max_retries=3",
    "RegexGuardrail": """patterns mode='block' position='output' on_fail='retry' name=None message=None
        max_retries=3""",
    "LLMGuardrail": """model policy position='output' on_fail='retry' name=None max_retries=3 max_tokens=None""",
    "TextMentionTermination": "text case_sensitive=False",
    "StopMessageTermination": "stop_message='TERMINATE'",
    "MaxMessageTermination": "max_messages",
    "TokenUsageTermination": "max_total_tokens=None max_prompt_tokens=None max_completion_tokens=None",
    "OnToolResult": "target tool_name='' result_contains=None",
    "OnTextMention": "target text=''",
    "SemanticMemory": "store=None max_results=5 session_id=None",
    "DockerCodeExecutor": """image='python:3.12-slim' language='python' timeout=30 network_enabled=False
        memory_limit=None volumes=None""",
    "ServerlessCodeExecutor": "endpoint api_key=None language='python' timeout=30 headers=None",
    "skill": "path model='' agent_models=None search_path=None params=None",
    "UserProxyAgent": """name='user' human_input_mode='ALWAYS' default_response='Continue.' model='openai/gpt-4o'
        instructions='' kwargs""",
    "GPTAssistantAgent": """name assistant_id=None model='openai/gpt-4o' instructions='' openai_tools=None
        api_key=None kwargs""",
    "AgentRuntime": "server_url=None api_key=None api_secret=None config=None",
    "AgentHandle": "execution_id runtime=None correlation_id=None run_id=None",
    "AgentAPIError": "status_code message url=''",
}


@pytest.mark.parametrize("name", SIGNATURES)
def test_a_name_takes_the_parameters_of_the_contract(name: str) -> None:
    told = []
    for parameter in inspect.signature(getattr(agents, name)).parameters.values():
        default = parameter.default
        default = str(default) if isinstance(default, str) else default
        told.append(parameter.name if default is parameter.empty else f"{parameter.name}={default!r}")
    wanted = SIGNATURES[name].split()
    assert told[: len(wanted)] == wanted


def test_no_constructor_talks_to_a_server() -> None:
    before = dict(os.environ)
    runtime = AgentRuntime(server_url="http://127.0.0.1:1/api")
    assert runtime.config.server_url == "http://127.0.0.1:1/api"
    assert AgentRuntime(server_url="http://127.0.0.1:1").config.server_url == "http://127.0.0.1:1/api"
    assert dict(os.environ) == before
