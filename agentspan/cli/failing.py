"""What goes wrong in a command is one sentence on the standard error and an exit code."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from agentspan.cli.codes import code_of
from agentspan.errors import AgentspanError


@contextmanager
def told_in_a_sentence() -> Iterator[None]:
    """End the process with the sentence and the code of what goes wrong."""
    try:
        yield
    except (AgentspanError, TimeoutError) as problem:
        text = problem.message if isinstance(problem, AgentspanError) else str(problem)
        print(f"agentspan: {text}", file=sys.stderr)
        sys.exit(code_of(problem))
