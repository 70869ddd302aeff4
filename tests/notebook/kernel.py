"""Real kernels as a front end sees them: cells are sent, messages are read, comms are written, processes are killed.

All channels are read in the thread of the test, so nothing is lost and nothing is waited for blindly.
"""

import fcntl
import importlib.metadata
import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from queue import Empty
from typing import Any, TypeVar

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import KernelManager

Json = dict[str, Any]
T = TypeVar("T")

ROOT = Path(__file__).parents[2]
SECONDS = 60.0
TICK_SECONDS = 0.05
OLD = ("ipykernel==6.31.0", "nest-asyncio==1.6.0")
COLOURS = re.compile(r"\x1b\[[0-9;]*m")
WIDGET = "application/vnd.jupyter.widget-view+json"


@dataclass
class Cell:
    """What one cell did: its messages on the iopub channel, and its reply once it has ended."""

    id: str
    messages: list[Json] = field(default_factory=list)
    reply: Json | None = None
    is_idle: bool = False

    @property
    def ended(self) -> bool:
        return self.is_idle and self.reply is not None

    @property
    def status(self) -> str:
        return str(self.reply["content"]["status"]) if self.reply else ""

    @property
    def text(self) -> str:
        """What was printed, and the plain text of the cell's value."""
        return "".join(
            each["content"]["text"] if each["msg_type"] == "stream" else each["content"]["data"].get("text/plain", "")
            for each in self.messages
            if each["msg_type"] in ("stream", "execute_result")
        )

    @property
    def error(self) -> str:
        """The traceback of a cell that failed, without colours."""
        found = [line for each in self.messages if each["msg_type"] == "error" for line in each["content"]["traceback"]]
        return COLOURS.sub("", "\n".join(found))

    @property
    def displays(self) -> list[Json]:
        """The bundles that were shown, the cell's value included, in their order."""
        return [
            each["content"]["data"] for each in self.messages if each["msg_type"] in ("display_data", "execute_result")
        ]

    @property
    def updates(self) -> list[Json]:
        """The bundles that took the place of others."""
        return [each["content"]["data"] for each in self.messages if each["msg_type"] == "update_display_data"]


class Kernel:
    """One kernel process. `old`: of ipykernel 6."""

    def __init__(self, *, old: bool = False, cwd: Path | None = None, **environ: str) -> None:
        self.old, self.cwd, self.environ = old, cwd, environ
        self.cells: dict[str, Cell] = {}
        self.messages: list[Json] = []
        self.widgets: dict[str, Json] = {}
        """The state of each widget that was opened, as a front end has it."""
        self.prompts: list[str] = []
        """What standard input was asked for."""
        self.manager = KernelManager()
        self.manager._kernel_spec = KernelSpec(
            argv=[sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"], display_name="", language=""
        )

    def start(self) -> "Kernel":
        path = [str(ROOT), *([str(old_ipykernel())] if self.old else [])]
        environ = {
            **os.environ, "PYTHONPATH": os.pathsep.join(reversed(path)), "PYTHONWARNINGS": "default",
            "NO_COLOR": "1", "PYDEVD_DISABLE_FILE_VALIDATION": "1", **self.environ,
        }  # fmt: skip
        for name in ("PYTEST_VERSION", "PYTEST_CURRENT_TEST", "CI"):  # what a person's kernel does not have
            if name not in self.environ:
                environ.pop(name, None)
        self.manager.start_kernel(env=environ, cwd=str(self.cwd or ROOT))
        self.client: BlockingKernelClient = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=SECONDS)
        self.quiet()
        return self

    @property
    def version(self) -> int:
        return 6 if self.old else int(importlib.metadata.version("ipykernel").partition(".")[0])

    def begin(self, code: str, *, cell_id: str = "", allow_stdin: bool = True, **header: Any) -> Cell:
        """Send a cell, and do not wait for it."""
        content = {
            "code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": allow_stdin,
            "stop_on_error": True,
        }  # fmt: skip
        message = self.client.session.msg("execute_request", content, metadata={"cellId": cell_id} if cell_id else {})
        message["header"].update(header)
        cell = self.cells[message["header"]["msg_id"]] = Cell(message["header"]["msg_id"])
        self.client.shell_channel.send(message)
        return cell

    def run(self, code: str, *, seconds: float = SECONDS, **how: Any) -> Cell:
        """Run a cell to its end, failed or not."""
        cell = self.begin(code, **how)
        self.until(lambda: cell.ended, f"the end of the cell {code!r}", seconds)
        return cell

    def say(self, code: str, **how: Any) -> str:
        """The text of a cell that must not fail."""
        cell = self.run(code, **how)
        assert cell.status == "ok", cell.error or cell.reply
        return cell.text.strip()

    def until(self, look: Callable[[], T], what: str, seconds: float = SECONDS) -> T:
        """Read messages until `look` gives something true; gives that."""
        give_up = time.monotonic() + seconds
        while not (found := look()):
            assert time.monotonic() < give_up, f"waited {seconds:g} s for {what}; the last messages: {self.tail()}"
            self.read(TICK_SECONDS)
        return found

    def read(self, seconds: float = 0.0) -> bool:
        """Take in what has come; waits for the first message at most `seconds`."""
        found = False
        while (message := _next(self.client.get_iopub_msg, 0.0 if found else seconds)) is not None:
            self._hear(message)
            found = True
        while (message := _next(self.client.get_shell_msg, 0.0)) is not None:
            found = True
            if cell := self.cells.get(message["parent_header"].get("msg_id", "")):
                cell.reply = message
        while (message := _next(self.client.get_stdin_msg, 0.0)) is not None:
            found = True
            self.prompts.append(message["content"]["prompt"])
        return found

    def quiet(self, seconds: float = 0.2) -> None:
        """Read until nothing has come for a while."""
        while self.read(seconds):
            pass

    def type(self, line: str) -> None:
        """Answer what standard input was asked for."""
        self.client.input(line)

    def interrupt(self) -> None:
        self.manager.interrupt_kernel()

    def widget(self, **state: Any) -> str:
        """The id of the newest widget whose state has these values; waits for it."""

        def look() -> str:
            fits = [
                each for each, had in self.widgets.items() if all(had.get(key) == value for key, value in state.items())
            ]
            return fits[-1] if fits else ""

        return self.until(look, f"a widget with {state}, among {list(self.widgets.values())[-3:]}")

    def set_widget(self, widget: str, *, subshell: str = "", **state: Any) -> None:
        """Change a widget as its front end does: by a message on the shell channel."""
        content = {"comm_id": widget, "data": {"method": "update", "state": state, "buffer_paths": []}}
        message = self.client.session.msg("comm_msg", content)
        if subshell:
            message["header"]["subshell_id"] = subshell
        self.client.shell_channel.send(message)

    def subshell(self) -> str:
        """A new subshell, in which a front end lets comms talk while a cell runs."""
        self.client.control_channel.send(self.client.session.msg("create_subshell_request", {}))
        return str(self.client.get_control_msg(timeout=SECONDS)["content"]["subshell_id"])

    def restart(self) -> None:
        """Kill the process and start another, with the same environment."""
        self.kill()
        self.__init__(old=self.old, cwd=self.cwd, **self.environ)  # type: ignore[misc]
        self.start()

    def kill(self) -> None:
        """SIGKILL, as when the memory is full."""
        if self.manager.has_kernel:
            self.client.stop_channels()
            self.manager.shutdown_kernel(now=True)
        self.manager.cleanup_resources()

    def tail(self) -> list[Any]:
        return [(each["msg_type"], each["content"]) for each in self.messages[-8:]]

    def _hear(self, message: Json) -> None:
        self.messages.append(message)
        content, kind = message["content"], message["msg_type"]
        if kind == "comm_open" and content.get("target_name") == "jupyter.widget":
            self.widgets[content["comm_id"]] = dict(content["data"]["state"])
        elif kind == "comm_msg" and content["data"].get("method") in ("update", "echo_update"):
            self.widgets.setdefault(content["comm_id"], {}).update(content["data"]["state"])
        if cell := self.cells.get(message["parent_header"].get("msg_id", "")):
            cell.messages.append(message)
            if kind == "status" and content["execution_state"] == "idle":
                cell.is_idle = True


@contextmanager
def kernel(**how: Any) -> Iterator[Kernel]:
    """A kernel that is ready, and gone at the end."""
    started = Kernel(**how)
    try:
        yield started.start()
    finally:
        started.kill()


def old_ipykernel() -> Path:
    """A folder that holds ipykernel 6, to stand before the environment's own on the path; made once, and kept."""
    folder = ROOT / ".cache" / "kernel6" / f"{OLD[0].replace('==', '-')}-py{sys.version_info[0]}{sys.version_info[1]}"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "complete").exists():
            install = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
            subprocess.run([*install, "--upgrade", "--target", str(folder), *OLD], check=True, timeout=100)
            (folder / "complete").touch()
    return folder


def _next(get: Callable[..., Json], seconds: float) -> Json | None:
    try:
        return get(timeout=seconds)
    except Empty:
        return None
