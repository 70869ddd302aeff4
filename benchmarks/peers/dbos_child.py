"""DBOS: a workflow of seven steps, on PostgreSQL."""

import logging
import sys
import time

from dbos import DBOS

from benchmarks.children import Json, serve
from benchmarks.lanes import in_threads

TOOL_CALLS = 3


@DBOS.step()
def think(turn: int) -> str:
    return "add" if turn < TOOL_CALLS else "3"


@DBOS.step()
def add(a: int, b: int) -> int:
    return a + b


@DBOS.workflow()
def run() -> str:
    for turn in range(TOOL_CALLS + 1):
        answer = think(turn)
        if answer == "add":
            add(1, 2)
    return answer


def main(url: str) -> None:
    DBOS(config={"name": "bench", "system_database_url": url, "run_admin_server": False, "log_level": "ERROR"})
    logging.getLogger("dbos").setLevel(logging.ERROR)
    DBOS.launch()

    def answer(at_once: int, seconds: float) -> Json:
        cpu = time.process_time()
        return {**in_threads(run, at_once, seconds), "cpu_seconds": time.process_time() - cpu}

    serve(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
