"""Messages to a running agent, each with a receipt: queued, seen in a turn, or the run ended before."""

import contextlib
from typing import Any

import msgspec

from agentspan.errors import Conflict
from agentspan.server.handler import Handler, Route
from agentspan.store.views import MessageView

Json = dict[str, Any]

STOP: Json = {"_signal": "stop"}
"""What Conductor's clients put into the queue of a run that they stop, to wake it. It is awake already."""


class Message(msgspec.Struct, rename="camel"):
    """Text, or an object for a tool that waits for messages."""

    message: str | Json
    sender: str | None = None


class Messages(Handler):
    async def post(self, execution_id: str) -> None:
        """Tell a run something: the model sees it in its next turn, or a tool that waits for messages takes it."""
        asked = self.body(Message)
        message = asked.message if isinstance(asked.message, dict) else {"message": asked.message}
        sent = await self.engine.send(execution_id, message, self.person() or asked.sender or "")
        self.answer(receipt(await self.engine.message(execution_id, sent)))


class One(Handler):
    may_be_a_link = True

    async def get(self, execution_id: str, message_id: str) -> None:
        """What became of a message."""
        self.answer(receipt(await self.engine.message(execution_id, message_id)))


class Push(Handler):
    async def post(self, execution_id: str) -> None:
        """Put an object into the run's queue of messages; the message's id as text."""
        body = self.json_object()
        if body == STOP:
            with contextlib.suppress(Conflict):
                await self.engine.stop(execution_id)
            self.answer_text("")
            return
        self.answer_text(await self.engine.send(execution_id, body, self.person()))


def receipt(view: MessageView) -> Json:
    return {
        "messageId": view.message_id,
        "status": view.status,
        "turn": view.turn or None,
        "at": view.at,
        "sentAt": view.sent_at,
        "message": view.message,
        "sender": view.sender,
    }


ROUTES = [
    Route("/api/agent/{execution_id}/messages", Messages),
    Route("/api/agent/{execution_id}/messages/{message_id}", One),
    Route("/api/workflow/{execution_id}/messages", Push),
]
