"""Names of things outside their tree. A tree's id is its root's; the rest carry it, so that no lookup finds the tree.

Root execution: the UUID itself. Descendant: `<uuid>.e<number>`. Attempt of a task: `<uuid>.t<number>`. A message has
an id within its tree, since models see it: `m<number>`.
"""

from agentspan.errors import NotFound


def execution_id(tree: str, number: int) -> str:
    return f"{tree}.e{number}" if number else tree


def task_id(tree: str, number: int) -> str:
    return f"{tree}.t{number}"


def split_execution(name: str) -> tuple[str, int]:
    """Tree and number of an execution id."""
    tree, _, number = name.partition(".e")
    return tree, _number(number, f"execution {name!r}") if number else 0


def split_task(name: str) -> tuple[str, int]:
    """Tree and number of a task id."""
    tree, _, number = name.partition(".t")
    return tree, _number(number, f"task {name!r}")


def message_id(number: int) -> str:
    return f"m{number}"


def message_number(name: str) -> int:
    """The number of a message id."""
    return _number(name[1:] if name.startswith("m") else "", f"message {name!r}")


def _number(text: str, what: str) -> int:
    if not text.isdecimal() or len(text) > 15:
        raise NotFound(f"there is no {what}")
    return int(text)
