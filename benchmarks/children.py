"""Child processes that answer questions: a line of JSON in, a line of JSON out. Standard library alone, because the
peers' environment has nothing of ours."""

import asyncio
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

Json = dict[str, Any]

ROOT = Path(__file__).parents[1]


class Child:
    """A module of this package that runs in a process of its own until it is closed."""

    def __init__(self, module: str, *arguments: str, python: str = sys.executable) -> None:
        self.process = subprocess.Popen(
            [python, "-W", "ignore", "-m", f"benchmarks.{module}", *arguments],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.name = module
        self._read()

    def ask(self, **question: Any) -> Json:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        """Closing its input ends it."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def _read(self) -> Json:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(f"the child {self.name} died with exit code {self.process.wait()}")
        answer: Json = json.loads(line)
        return answer


def serve(answer: Callable[..., Json]) -> None:
    """The child's side: say that it is ready, then answer until the input is closed."""
    _say({})
    for line in sys.stdin:
        _say(answer(**json.loads(line)))
    _end()


async def serve_async(answer: Callable[..., Awaitable[Json]]) -> None:
    """The same on a loop, where other work goes on meanwhile."""
    _say({})
    while line := await asyncio.to_thread(sys.stdin.readline):
        _say(await answer(**json.loads(line)))
    _end()


def _say(answer: Json) -> None:
    print(json.dumps(answer), flush=True)


def _end() -> None:
    """At once: threads of a peer or requests under way must not keep it."""
    os._exit(0)
