"""A bar for long work, on the standard error of a terminal; nothing where nobody looks on."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TypeVar

T = TypeVar("T")
Step = Callable[[int], None]

FEW = 2


def progress(items: Sequence[T], doing: str) -> Iterator[T]:
    """The items, one by one, with a bar that says how many are done."""
    with bar(len(items), doing) as step:
        for each in items:
            yield each
            step(1)


@contextmanager
def bar(total: int, doing: str) -> Iterator[Step]:
    """A bar of `total` steps; call what it gives with how many more are done."""
    if not sys.stderr.isatty() or total < FEW:
        yield lambda _: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(doing, total=total)
        yield lambda more: shown.advance(task, more)
