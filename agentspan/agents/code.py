"""Running code and commands for an agent: the configurations, and the executors, which this version does not run."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any

from agentspan.agents.exceptions import unbuilt
from agentspan.agents.tool import ToolDef

Json = dict[str, Any]


@dataclass
class ExecutionResult:
    """What a piece of code wrote, and how it ended."""

    output: str = ""
    error: str = ""
    exit_code: int = 0
    timed_out: bool = False

    @property
    def success(self) -> bool:
        """Exit code 0 and in time."""
        return self.exit_code == 0 and not self.timed_out


class CodeExecutor(ABC):
    """Runs code in one language; `timeout` in seconds."""

    def __init__(self, language: str = "python", timeout: int = 30, working_dir: str | None = None) -> None:
        self.language, self.timeout, self.working_dir = language, timeout, working_dir

    @abstractmethod
    def execute(self, code: str) -> ExecutionResult:
        """Run it and wait."""

    def as_tool(self, name: str | None = None, description: str | None = None) -> ToolDef:
        """A tool `execute_code(code)` that answers `{status, stdout, stderr}`."""
        raise unbuilt("Code execution as a tool")


class LocalCodeExecutor(CodeExecutor):
    """Runs code in a process of this machine, without a sandbox."""

    def execute(self, code: str) -> ExecutionResult:
        raise unbuilt("LocalCodeExecutor")


class DockerCodeExecutor(CodeExecutor):
    """Runs code in a container, by default without a network."""

    def __init__(
        self,
        image: str = "python:3.12-slim",
        language: str = "python",
        timeout: int = 30,
        network_enabled: bool = False,
        memory_limit: str | None = None,
        volumes: dict[str, str] | None = None,
    ) -> None:
        super().__init__(language, timeout)
        self.image, self.network_enabled = image, network_enabled
        self.memory_limit, self.volumes = memory_limit, dict(volumes or {})

    def execute(self, code: str) -> ExecutionResult:
        raise unbuilt("DockerCodeExecutor")


class JupyterCodeExecutor(CodeExecutor):
    """Runs code in a Jupyter kernel that keeps its variables."""

    def __init__(self, kernel_name: str = "python3", timeout: int = 30, startup_code: str | None = None) -> None:
        super().__init__("python", timeout)
        self.kernel_name, self.startup_code = kernel_name, startup_code

    def execute(self, code: str) -> ExecutionResult:
        raise unbuilt("JupyterCodeExecutor")

    def shutdown(self) -> None:
        """End the kernel."""
        raise unbuilt("JupyterCodeExecutor")


class ServerlessCodeExecutor(CodeExecutor):
    """Sends code to an HTTP endpoint that runs it."""

    def __init__(
        self,
        endpoint: str,
        api_key: str | None = None,
        language: str = "python",
        timeout: int = 30,
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(language, timeout)
        self.endpoint, self.api_key, self.headers = endpoint, api_key, dict(headers or {})

    def execute(self, code: str) -> ExecutionResult:
        raise unbuilt("ServerlessCodeExecutor")


class CommandValidator:
    """Checks which programs a piece of code may start."""

    def __init__(self, allowed_commands: list[str] | None = None) -> None:
        self.allowed_commands = list(allowed_commands or ())

    def validate(self, code: str, language: str = "python") -> None:
        """ValueError if the code starts a program that is not allowed."""
        raise unbuilt("CommandValidator")


@dataclass
class CodeExecutionConfig:
    """Code execution of an agent; `timeout` in seconds. `executor` is a LocalCodeExecutor by default."""

    enabled: bool = True
    allowed_languages: list[str] = field(default_factory=lambda: ["python"])
    allowed_commands: list[str] = field(default_factory=list)
    executor: CodeExecutor | None = None
    timeout: int = 30
    working_dir: str | None = None

    def to_config(self) -> Json:
        """The configuration on the wire."""
        return {
            "enabled": self.enabled,
            "allowedLanguages": list(self.allowed_languages),
            "allowedCommands": list(self.allowed_commands),
            "timeout": self.timeout,
        }


@dataclass
class CliConfig:
    """Command-line programs of an agent; `timeout` in seconds, an empty `allowed_commands` allows all."""

    enabled: bool = True
    allowed_commands: list[str] = field(default_factory=list)
    timeout: int = 30
    working_dir: str | None = None
    allow_shell: bool = False

    def to_config(self) -> Json:
        """The configuration on the wire."""
        return {
            "enabled": self.enabled,
            "allowedCommands": list(self.allowed_commands),
            "timeout": self.timeout,
            "allowShell": self.allow_shell,
        }


def code_tool(agent_name: str) -> ToolDef:
    """The tool that an agent with code execution gets."""
    return _tool(f"{agent_name}_execute_code", "Execute code.", {"code": str, "language": "python"}, ["code"])


def command_tool(agent_name: str) -> ToolDef:
    """The tool that an agent with command-line programs gets."""
    properties = {"command": str, "args": list, "cwd": "", "shell": False, "context_key": ""}
    return _tool(f"{agent_name}_run_command", "Run a command-line program.", properties, ["command"])


def _tool(name: str, description: str, properties: dict[str, Any], required: list[str]) -> ToolDef:
    kinds: dict[type, Json] = {
        str: {"type": "string"},
        list: {"type": "array", "items": {"type": "string"}, "default": []},
    }
    fields = {
        key: kinds[value]
        if isinstance(value, type)
        else {"type": "boolean" if isinstance(value, bool) else "string", "default": value}
        for key, value in properties.items()
    }
    schema = {"type": "object", "properties": fields, "required": required}

    def execute(**arguments: Any) -> Any:
        raise unbuilt(f"Tool {name}")

    return ToolDef(name, description, schema, func=execute)
