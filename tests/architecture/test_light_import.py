"""`import agentspan.agents` is light: what a worker image and a notebook cell pay before anything happens.

Each measurement is a new interpreter; the best of several counts, because a busy machine only ever adds.
"""

import json
import subprocess
import sys

import pytest

MOST_SECONDS = 0.35
MOST_BYTES = 60 * 1024 * 1024
HEAVY = {
    "tornado",
    "sqlalchemy",
    "alembic",
    "psycopg",
    "litellm",
    "openai",
    "panel",
    "bokeh",
    "numpy",
    "pandas",
    "IPython",
}

PROGRAM = """
import json, sys, time
start = time.perf_counter()
import agentspan.agents
seconds = time.perf_counter() - start
import psutil
print(json.dumps([seconds, psutil.Process().memory_info().rss, sorted(sys.modules)]))
"""


def measure() -> tuple[float, int, set[str]]:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    seconds, size, modules = json.loads(done.stdout)
    return seconds, size, set(modules)


def test_it_loads_no_server_no_database_no_model_library_and_no_dashboard():
    _, _, modules = measure()
    assert not {module.partition(".")[0] for module in modules} & HEAVY
    rooms = {module.split(".")[1] for module in modules if module.startswith("agentspan.")}
    assert not rooms & {"core", "store", "engine", "server", "cli", "dashboard"}


@pytest.mark.xdist_group("measured")
def test_it_takes_little_time_and_memory():
    measure()  # The first one writes the bytecode.
    runs = [measure() for _ in range(5)]
    assert min(size for _, size, _ in runs) < MOST_BYTES
    assert min(seconds for seconds, _, _ in runs) < MOST_SECONDS
