"""The progress of a map in its cell: one output, changed while it goes on, or shown once at its end."""

import asyncio
import uuid
from dataclasses import asdict

from agentspan.agents.watching import in_kernel
from agentspan.client.portal import in_caller
from agentspan.drawing.maps import map_card, map_text
from agentspan.notebook.mode import LIVE, OFF, STATIC, mode
from agentspan.notebook.rows import Map, Progress

DETACHED = "What has begun goes on; make the map again to wait for it: what is finished is read, not run again."


class Screen:
    """What the cell shows of a map, while it is under way."""

    def __init__(self, work: Map) -> None:
        self.mode = mode() if in_kernel() else OFF
        self._work, self._id = work, uuid.uuid4().hex
        if self.mode == LIVE:
            work.told = lambda progress: self._show(progress, update=True)

    async def __aenter__(self) -> None:
        if self.mode == LIVE:
            await in_caller(self._show, self._work.progress)

    async def __aexit__(self, kind: object, problem: BaseException | None, _: object) -> None:
        if isinstance(problem, asyncio.CancelledError):
            problem.add_note(DETACHED)
        self._work.end("done" if problem is None else "detached")
        if self.mode != STATIC:
            return
        try:
            await in_caller(self._show, self._work.progress)
        except RuntimeError:  # a cell that is being interrupted takes no errands; it still is the one that runs
            self._show(self._work.progress)

    def _show(self, progress: Progress, update: bool = False) -> None:
        from IPython.display import display

        told = asdict(progress)
        drawn = {"text/plain": map_text(told), "text/html": map_card(told, times=self.mode == LIVE)}
        how = {} if self.mode == STATIC else {"display_id": self._id, "update": update}
        display(drawn, raw=True, **how)  # type: ignore[no-untyped-call]
