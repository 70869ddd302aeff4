"""Pieces of answers on their way to readers at other servers: gathered, told some times a second, lost without harm."""

from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

TELL_SECONDS = 0.1
"""How often pieces are told: all runs of a server together."""
WATCHED_MS = 30_000
"""How long another server's reader is believed to be there, who is told of again and again."""
RENEW_MS = 10_000
TREES_KEPT = 10_000
MOST_NOTICES = 16
"""What is written faster than that is seen when it is whole."""
NOTICE_BYTES = 7_000
PIECE_CHARS = 1_000

Json = dict[str, Any]


class Deltas:
    """Used on the loop's thread alone."""

    def __init__(self) -> None:
        self.watched: dict[str, int] = {}
        """Until when the trees are believed to be read at another server."""
        self._pieces: dict[tuple[str, int], str] = {}

    def watch(self, trees: Iterable[str], now: int) -> None:
        """Somebody reads these trees at another server."""
        for tree in trees:
            self.watched.pop(tree, None)
            self.watched[tree] = now + WATCHED_MS
        while len(self.watched) > TREES_KEPT:
            del self.watched[next(iter(self.watched))]

    def add(self, tree: str, execution: int, piece: str, now: int) -> bool:
        """Keep a piece if another server wants it. Whether it is the first to be told."""
        if self.watched.get(tree, 0) <= now:
            self.watched.pop(tree, None)
            return False
        is_first = not self._pieces
        self._pieces[tree, execution] = self._pieces.get((tree, execution), "") + piece
        return is_first

    def drop(self, tree: str, execution: int) -> None:
        """The answer is whole: it is on its way itself."""
        self._pieces.pop((tree, execution), None)

    def take(self) -> list[list[list[Any]]]:
        """What was gathered as [tree, execution, text], in notices that are small enough."""
        pieces, self._pieces = self._pieces, {}
        notices: list[list[list[Any]]] = []
        room = 0
        for piece in _cut(pieces):
            size = len(msgspec.json.encode(piece)) + 1
            if not notices or size > room:
                if len(notices) == MOST_NOTICES:
                    break
                notices.append([])
                room = NOTICE_BYTES
            notices[-1].append(piece)
            room -= size
        return notices


def _cut(pieces: dict[tuple[str, int], str]) -> Iterator[list[Any]]:
    for (tree, execution), text in pieces.items():
        for start in range(0, len(text), PIECE_CHARS):
            yield [tree, execution, text[start : start + PIECE_CHARS]]
