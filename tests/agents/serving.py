"""A real server process on a folder of its own, which tests may kill and start again on the same port."""

import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

READY_SECONDS = 30.0


class ServerProcess:
    """`python -m agentspan.cli.main server start --foreground` with the scripted models of `scripts`."""

    def __init__(self, folder: Path, **environ: str) -> None:
        self.folder, self.environ = folder, environ
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        (folder / "scripts").mkdir(parents=True, exist_ok=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def script(self, name: str, *answers: Any) -> str:
        """Write a scripted model; its name for Agent(model=...)."""
        (self.folder / "scripts" / f"{name}.json").write_text(json.dumps({name: list(answers)}))
        return f"scripted/{name}"

    def start(self) -> None:
        """Start, or start again on the same port."""
        command = [sys.executable, "-m", "agentspan.cli.main", "server", "start", "--foreground"]
        command += ["--port", str(self.port), "--data-dir", str(self.folder)]
        environ = {key: value for key, value in os.environ.items() if not key.startswith("AGENTSPAN_")}
        with (self.folder / "output.log").open("ab") as output:
            self.process = subprocess.Popen(command, stdout=output, stderr=output, env={**environ, **self.environ})
        deadline = time.monotonic() + READY_SECONDS
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start: {(self.folder / 'output.log').read_text()[-2000:]}")
            time.sleep(0.02)

    def kill(self) -> None:
        """End it as a power cut would."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.kill()

    def _ready(self) -> bool:
        try:
            record = json.loads((self.folder / "server.json").read_text())
            if record["pid"] != self.process.pid:  # type: ignore[union-attr]
                return False
            with urllib.request.urlopen(f"{record['url']}/health", timeout=1) as answer:
                self.port = int(record["url"].rpartition(":")[2])
                return answer.status == 200
        except (OSError, ValueError, KeyError):
            return False


def tool_call(name: str, **arguments: Any) -> dict[str, Any]:
    """A script's answer that calls one tool."""
    return {"tool_calls": [{"name": name, "arguments": arguments}]}
