"""How the notebooks are tested: in a real kernel, with their outputs compared as text.

HTML, data with times, scripts and what a kernel writes to stderr differ from run to run; every output has a text form
beside them.
"""

import pytest

from notebooks.surroundings import apart

NOT_COMPARED = (
    "stderr",
    "text/html",
    "application/json",
    "application/javascript",
    "application/vnd.holoviews_load.v0+json",
    "application/vnd.holoviews_exec.v0+json",
    "application/vnd.bokehjs_load.v0+json",
    "application/vnd.bokehjs_exec.v0+json",
)


def pytest_configure(config: pytest.Config) -> None:
    surroundings = apart()
    surroundings.__enter__()
    config.add_cleanup(lambda: surroundings.__exit__(None, None, None))


def pytest_collectstart(collector: pytest.Collector) -> None:
    if collector.nodeid.endswith(".ipynb") and hasattr(collector, "skip_compare"):
        collector.skip_compare += NOT_COMPARED
