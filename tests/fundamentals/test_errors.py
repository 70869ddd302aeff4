"""The tree in the docstring of agentspan.errors is the tree of the classes, with their statuses."""

import inspect
import re

from agentspan import errors

DRAWN = re.compile(r"^(?P<indent>[ │├└─]*)(?P<name>[A-Z]\w+) \((?P<status>\d{3})\)")


def classes() -> dict[str, type[errors.AgentspanError]]:
    return {
        name: each for name, each in inspect.getmembers(errors, inspect.isclass) if each.__module__ == errors.__name__
    }


def drawn() -> dict[str, tuple[str | None, int]]:
    """Of each class that the docstring draws: the name of its parent and its status."""
    tree: dict[str, tuple[str | None, int]] = {}
    path: list[str] = []
    for line in (errors.__doc__ or "").splitlines():
        if match := DRAWN.match(line):
            depth = len(match["indent"]) // 4
            path[depth:] = [match["name"]]
            tree[match["name"]] = (path[depth - 1] if depth else None, int(match["status"]))
    return tree


def test_the_docstring_draws_the_tree_of_the_classes():
    real = {
        name: (None if each is errors.AgentspanError else each.__mro__[1].__name__, each.status)
        for name, each in classes().items()
    }
    assert drawn() == real


def test_an_error_without_words_says_the_first_line_of_its_docstring():
    for name, each in classes().items():
        assert each.__doc__, name
        error = each() if each is not errors.ModelFailure else each("")
        assert error.message == each.__doc__.strip().splitlines()[0]
        assert each("In other words.").message == str(each("In other words.")) == "In other words."


def test_a_failure_of_a_model_says_whether_and_when_to_try_again():
    assert not errors.ModelFailure("No.").retryable
    failure = errors.ModelFailure("Later.", retryable=True, retry_after_ms=1500)
    assert (failure.retryable, failure.retry_after_ms) == (True, 1500)
