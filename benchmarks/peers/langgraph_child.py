"""LangGraph's ReAct agent with a model that answers at once: `memory` is without a checkpointer, else a file of SQLite
or a URL of PostgreSQL."""

import contextlib
import sqlite3
import sys
import time
import uuid
from collections.abc import Iterator
from typing import Any

from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, BaseMessage, ToolMessage
from langchain_core.outputs import ChatGeneration, ChatResult
from langchain_core.tools import tool
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.prebuilt import create_react_agent

from benchmarks.children import Json, serve
from benchmarks.lanes import in_threads

TOOL_CALLS = 3
POOL = 20


@tool
def add(a: int, b: int) -> int:
    """The sum of two numbers."""
    return a + b


class Scripted(BaseChatModel):
    """Three calls of the tool, then the end."""

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def bind_tools(self, tools: Any, **_: Any) -> "Scripted":
        return self

    def _generate(self, messages: list[BaseMessage], *_: Any, **__: Any) -> ChatResult:
        done = sum(isinstance(each, ToolMessage) for each in messages)
        answer = AIMessage("3")
        if done < TOOL_CALLS:
            answer = AIMessage("", tool_calls=[{"name": "add", "args": {"a": 1, "b": 2}, "id": f"call_{done}"}])
        return ChatResult(generations=[ChatGeneration(message=answer)])


@contextlib.contextmanager
def checkpointer(storage: str) -> Iterator[BaseCheckpointSaver[Any] | None]:
    if storage == "memory":
        yield None
    elif storage.startswith("postgresql"):
        from langgraph.checkpoint.postgres import PostgresSaver
        from psycopg.rows import dict_row
        from psycopg_pool import ConnectionPool

        how = {"autocommit": True, "prepare_threshold": 0, "row_factory": dict_row}
        with ConnectionPool(storage, min_size=1, max_size=POOL, kwargs=how) as pool:
            saver = PostgresSaver(pool)  # type: ignore[arg-type]
            saver.setup()
            yield saver
    else:
        from langgraph.checkpoint.sqlite import SqliteSaver

        with contextlib.closing(sqlite3.connect(storage, check_same_thread=False)) as connection:
            saver = SqliteSaver(connection)
            saver.setup()
            yield saver


def main(storage: str) -> None:
    with checkpointer(storage) as saver:
        agent = create_react_agent(Scripted(), [add], checkpointer=saver)

        def run() -> None:
            thread = {"configurable": {"thread_id": uuid.uuid4().hex}}
            # Sync: each step is stored before the next begins, as everybody else's here.
            how = {"durability": "sync"} if saver else {}
            state = agent.invoke({"messages": [("user", "1 + 2")]}, thread, **how)  # type: ignore[arg-type]
            assert state["messages"][-1].content == "3"

        def answer(at_once: int, seconds: float) -> Json:
            cpu = time.process_time()
            return {**in_threads(run, at_once, seconds), "cpu_seconds": time.process_time() - cpu}

        serve(answer)


if __name__ == "__main__":
    main(*sys.argv[1:])
