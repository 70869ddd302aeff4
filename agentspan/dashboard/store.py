"""What one session knows of a server: its client, who asks and what they may, and the news of what changed there."""

import asyncio
import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

from agentspan.client.client import Client
from agentspan.dashboard import may
from agentspan.errors import AgentspanError

log = logging.getLogger("agentspan.dashboard")

AGAIN_SECONDS = 1.0
"""After a stream of changes broke off."""


@dataclass(frozen=True)
class News:
    """What may have changed: these runs (by the id of their root), those that ended, the inbox, the workers; or all."""

    runs: frozenset[str] = frozenset()
    ended: frozenset[str] = frozenset()
    requests: bool = False
    workers: bool = False
    all: bool = False

    def __or__(self, other: "News") -> "News":
        return News(
            self.runs | other.runs,
            self.ended | other.ended,
            self.requests or other.requests,
            self.workers or other.workers,
            self.all or other.all,
        )

    def __bool__(self) -> bool:
        return bool(self.runs or self.ended or self.requests or self.workers or self.all)


NOTHING, EVERYTHING = News(), News(all=True)


@dataclass
class Store:
    """One session's way to a server. `user` is who asks, by their own word; `is_live`: news arrives; `is_shared`: they
    have the link of a shared run, and nothing else."""

    client: Client
    user: str = ""
    is_live: bool = False
    is_shared: bool = False
    me: dict[str, Any] = field(default_factory=dict)
    _heard: list[Callable[[News], None]] = field(default_factory=list)
    _reading: asyncio.Task[None] | None = None

    async def know(self) -> dict[str, Any]:
        """Who asks, as the server says it, asked for once."""
        if not self.me:
            self.me = await self.client.me()
        return self.me

    @property
    def allowed(self) -> list[str]:
        """The actions that the server lets them do; all while that is not known, so that it may say it itself."""
        if self.is_shared:
            return []
        return may.allowed(self.me) if self.me else may.ALL

    def may(self, action: str) -> bool:
        return action in self.allowed

    def watch(self, heard: Callable[[News], None]) -> Callable[[], None]:
        """Be told of what changes, until the returned function is called. The first watcher begins the reading."""
        self._heard.append(heard)
        if self._reading is None and not self.is_shared:
            self._reading = asyncio.ensure_future(self._read())
        return lambda: self._forget(heard)

    def close(self) -> None:
        """Read no more news."""
        if self._reading is not None:
            self._reading.cancel()
            self._reading = None

    def _forget(self, heard: Callable[[News], None]) -> None:
        with contextlib.suppress(ValueError):
            self._heard.remove(heard)

    async def _read(self) -> None:
        while True:
            try:
                async for change in self.client.changes():
                    self.is_live = True
                    self._tell(news_of(change))
            except AgentspanError as problem:
                log.info("no news of %s: %s", self.client.url, problem)
                if is_over(problem):
                    self._tell(EVERYTHING)
                    return
            self.is_live = False
            await asyncio.sleep(AGAIN_SECONDS)
            self._tell(EVERYTHING)

    def _tell(self, news: News) -> None:
        if news:
            for heard in list(self._heard):
                heard(news)


def is_over(problem: AgentspanError) -> bool:
    """Whether the server lets this session in no more: its user was disabled or has logged out everywhere, or what was
    shared is not shared any more. It cannot come right again."""
    return problem.status == HTTPStatus.UNAUTHORIZED


def news_of(change: dict[str, Any]) -> News:
    """The News of one change as the server sends it."""
    if change.get("type") == "missed":
        return EVERYTHING
    return News(
        runs=frozenset(change.get("executions") or ()),
        ended=frozenset(change.get("ended") or ()),
        requests=bool(change.get("requests")),
        workers=bool(change.get("workers")),
    )
