"""A person who answers everything that runs ask, over HTTP, also while the server is killed and started again."""

import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any

import httpx

Json = dict[str, Any]
Answer = Callable[[Json, int], Json | None]

PAUSE_SECONDS = 0.1
AWAY = (httpx.TransportError, httpx.HTTPStatusError)


class Person:
    """Answers in a thread of its own, from `start` to `stop`.

    `answer` gives the answer to a request, from the request and how many others its execution had asked before, or
    None to leave it open. A request for a message is not answered: the message is sent to the run. `refused` is what
    the server did not take.
    """

    def __init__(self, url: str, answer: Answer) -> None:
        self.answer = answer
        self.refused: list[tuple[Json, str]] = []
        self._asked: dict[str, list[str]] = defaultdict(list)
        self._http = httpx.Client(base_url=url, timeout=10, trust_env=False, verify=False)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._answer_all, name="person", daemon=True)

    def __enter__(self) -> "Person":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopping.set()
        self._thread.join()
        self._http.close()

    def _answer_all(self) -> None:
        while not self._stopping.wait(PAUSE_SECONDS):
            try:
                for request in self._inbox():
                    self._answer_one(request)
            except AWAY:
                continue

    def _inbox(self) -> list[Json]:
        found, cursor = list[Json](), ""
        while True:
            page = self._http.get("/api/inbox", params={"cursor": cursor} if cursor else {}).raise_for_status().json()
            found += page["requests"]
            cursor = page.get("nextCursor") or ""
            if not cursor:
                return found

    def _answer_one(self, request: Json) -> None:
        before = self._asked[request["executionId"]]
        if request["requestId"] not in before:
            before.append(request["requestId"])
        answer = self.answer(request, before.index(request["requestId"]))
        if answer is None:
            return
        root = f"/api/agent/{request['rootExecutionId']}"
        if request["kind"] == "message":
            response = self._http.post(f"{root}/messages", json={"message": answer})
        else:
            response = self._http.post(f"{root}/respond", json={**answer, "requestId": request["requestId"]})
        if response.status_code not in (200, 204, 409, 503):
            self.refused.append((request, response.text))
