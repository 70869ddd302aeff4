"""Tasks: polled, reported, extended and read, by Conductor's workers one queue at a time and by ours many at once."""

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Annotated, Any

import msgspec

from agentspan.errors import BadInput, NotFound
from agentspan.server import conductor
from agentspan.server.conductor import TaskResult
from agentspan.server.handler import MAX_WAIT_MS, Handler, Route
from agentspan.server.inbox import respond
from agentspan.server.rights import READ, RIGHTS
from agentspan.store.views import PollView, QueueView, Receipt, Want

Json = dict[str, Any]

MAX_CONDUCTOR_WAIT_MS = 5000
SINGLE_POLL_WAIT_MS = 100
MAX_COUNT = 1000
REMEMBERED = 5_000
OWN = "@"
"""How the names of the queues begin that the server itself serves."""


class Queue(msgspec.Struct, rename="camel"):
    name: str
    domain: str | None = None


Many = msgspec.Meta(max_length=10_000)


class PollRequest(msgspec.Struct, rename="camel"):
    """One long poll over all queues of a worker."""

    worker_id: str
    queues: Annotated[list[Queue], Many]
    count: int = 1
    timeout_ms: int = 0
    lease_seconds: float | None = None


class ReportRequest(msgspec.Struct, rename="camel"):
    results: Annotated[list[TaskResult], Many] = []
    poll: PollRequest | None = None


class ExtendRequest(msgspec.Struct, rename="camel"):
    task_ids: Annotated[list[str], Many]
    worker_id: str
    lease_seconds: float | None = None


class TaskHandler(Handler):
    """What polling and reporting share."""

    async def poll(self, request: PollRequest, **how: Any) -> list[Json]:
        if not 0 <= request.timeout_ms <= MAX_WAIT_MS:
            raise BadInput(f"timeoutMs must be from 0 to {MAX_WAIT_MS}, not {request.timeout_ms}")
        if not 1 <= request.count <= MAX_COUNT:
            raise BadInput(f"count must be from 1 to {MAX_COUNT}, not {request.count}")
        return await self.lease(
            [Want(queue.name, queue.domain or "") for queue in request.queues],
            request.worker_id,
            count=request.count,
            wait_ms=request.timeout_ms,
            lease_ms=_milliseconds(request.lease_seconds),
            **how,
        )

    async def lease(self, wants: Sequence[Want], worker: str, **how: Any) -> list[Json]:
        """Tasks of these queues as their worker gets them."""
        for want in wants:
            if want.name.startswith(OWN):
                raise BadInput(f"the queue {want.name!r} is the server's own; workers poll the names of tools")
        tasks = await self.while_open(self.engine.poll(wants, worker, **how))
        for task in tasks:
            _served.remember((self.house.name, task.task_id), Want(task.name, task.domain))
        deliveries = await self.engine.secrets.deliver(tasks)
        return [conductor.polled(task, deliveries.get(task.task_id)) for task in tasks]

    async def report(self, results: Sequence[TaskResult]) -> list[Receipt]:
        """Pass on final reports together; heartbeats and postponements one by one."""
        final = [each for each in results if not each.extend_lease and each.status != "IN_PROGRESS"]
        receipts = {each.task_id: each for each in await self.engine.report([conductor.report(each) for each in final])}
        for each in results:
            if each.extend_lease:
                receipts[each.task_id] = await self._extend(each)
            elif each.status == "IN_PROGRESS":
                receipts[each.task_id] = await self._postpone(each)
        return [receipts[each.task_id] for each in results]

    async def _extend(self, beat: TaskResult) -> Receipt:
        extended, _ = await self.engine.extend([beat.task_id], beat.worker_id or "")
        if extended:
            return Receipt(task_id=beat.task_id, landed=True)
        await self.reads.task(beat.task_id)
        return Receipt(task_id=beat.task_id, landed=False, reason="the task is no longer with this worker")

    async def _postpone(self, result: TaskResult) -> Receipt:
        if (await self.reads.task(result.task_id)).kind != "worker":
            raise BadInput("only tasks of tools are put back")
        if result.logs:
            await self.engine.log(result.task_id, [each.log for each in result.logs])
        after_ms = conductor.after_ms(result)
        return await self.engine.postpone(result.task_id, result.worker_id or "", after_ms)


# Ours: many queues and many results in one request


class Poll(TaskHandler):
    async def post(self) -> None:
        """Lease tasks of several queues; answers as soon as one is ready, or empty after timeoutMs."""
        self.answer({"tasks": await self.poll(self.body(PollRequest))})


class ReportMany(TaskHandler):
    async def post(self) -> None:
        """Report outcomes, and poll in the same request."""
        request = self.body(ReportRequest)
        reporting = asyncio.ensure_future(self.report(request.results))
        try:
            tasks = await self.poll(request.poll, first=asyncio.shield(reporting)) if request.poll else []
        finally:
            # Who has gone away has still reported.
            await asyncio.gather(reporting, return_exceptions=True)
        receipts = await reporting
        self.answer({"receipts": [receipt_json(each) for each in receipts], "tasks": tasks})


class Extend(TaskHandler):
    async def post(self) -> None:
        """Keep leases; what is lost was cancelled, timed out or taken over."""
        request = self.body(ExtendRequest)
        extended, lost = await self.engine.extend(
            request.task_ids, request.worker_id, _milliseconds(request.lease_seconds)
        )
        self.answer({"extended": extended, "lost": lost})


# Conductor's: one queue and one result


class PollBatch(TaskHandler):
    async def get(self, name: str) -> None:
        """Lease up to `count` tasks of one queue; answers as soon as one is ready, empty after `timeout` ms."""
        tasks = await self.lease(
            [Want(name, self.param("domain"))],
            self.param("workerid"),
            count=self.number("count", 1, 1, MAX_COUNT),
            wait_ms=self.number("timeout", 100, 0, MAX_CONDUCTOR_WAIT_MS),
        )
        self.answer(tasks)


class PollOne(TaskHandler):
    async def get(self, name: str) -> None:
        """Lease one task of a queue; 204 if there is none."""
        tasks = await self.lease(
            [Want(name, self.param("domain"))], self.param("workerid"), count=1, wait_ms=SINGLE_POLL_WAIT_MS
        )
        self.answer(tasks[0]) if tasks else self.answer_nothing(204)


class Update(TaskHandler):
    async def post(self) -> None:
        """Report a task's outcome, extend its lease (`extendLease`) or put it back (`IN_PROGRESS`); its id as text."""
        result = self.body(TaskResult)
        await self.report([result])
        self.answer_text(result.task_id)


class UpdateAndPoll(TaskHandler):
    async def post(self) -> None:
        """Report a task's outcome and lease the next task of the same queue; 204 if there is none."""
        result = self.body(TaskResult)
        await self.report([result])
        want = _served.want((self.house.name, result.task_id)) or await self._want(result.task_id)
        tasks = await self.lease([want], result.worker_id or "", count=1)
        self.answer(tasks[0]) if tasks else self.answer_nothing(204)

    async def _want(self, task_id: str) -> Want:
        task = await self.reads.task(task_id)
        return Want(task.name, task.domain)


class UpdateByReference(TaskHandler):
    async def post(self, execution_id: str, ref: str, status: str) -> None:
        """Report the last task of that reference; its id as text. An open human request is answered with the body."""
        self.answer_text(await self.settle(execution_id, ref, status))

    async def settle(self, execution_id: str, ref: str, status: str) -> str:
        tasks = [each for each in await self.reads.tasks(execution_id) if each.ref == ref]
        if not tasks:
            raise NotFound(f"execution {execution_id} has no task {ref!r}")
        task, output = tasks[-1], self.json_object()
        if task.kind == "human" and status == "COMPLETED":
            self.subject = task.task_id
            await self.admit_to(RIGHTS["POST", "/api/inbox/{request_id}/respond"])
            await respond(self, execution_id, task.task_id)
        else:
            worker = self.param("workerid")
            result = TaskResult(task_id=task.task_id, status=status, output_data=output, worker_id=worker)
            await self.report([result])
        return task.task_id


class UpdateAndRead(UpdateByReference):
    async def post(self, execution_id: str, ref: str, status: str) -> None:
        """Report the last task of that reference; the execution after it."""
        await self.admit_to(READ)
        await self.settle(execution_id, ref, status)
        view = await self.reads.execution(execution_id)
        self.answer(conductor.workflow(view, await self.reads.tasks(execution_id)))


class Log(Handler):
    accepts_text = True

    async def get(self, task_id: str) -> None:
        """What a task wrote; 204 if nothing."""
        lines = await self.reads.logs(task_id)
        self.answer([conductor.task_log(task_id, *line) for line in lines]) if lines else self.answer_nothing(204)

    async def post(self, task_id: str) -> None:
        """Add a line, sent as raw text."""
        await self.reads.task(task_id)
        await self.engine.log(task_id, [self.text()])
        self.answer_nothing()


class One(Handler):
    may_be_a_link = True

    async def get(self, task_id: str) -> None:
        """One task."""
        self.answer(conductor.task(await self.reads.task(task_id)))


# Queues


class QueueHandler(Handler):
    """Of the queues that workers poll; the server's own are not shown to them."""

    async def queues(self) -> list[QueueView]:
        return [each for each in await self.reads.queues() if not each.name.startswith(OWN)]

    def polls(self) -> list[PollView]:
        return [each for each in self.engine.pollers.polls() if not each.name.startswith(OWN)]


class QueueSizes(QueueHandler):
    async def get(self) -> None:
        """How many tasks are ready in each of the queues `taskType`."""
        sizes = conductor.queue_sizes(await self.queues())
        self.answer({name: sizes.get(name, 0) for name in self.params("taskType")})


class QueueSize(QueueHandler):
    async def get(self) -> None:
        """How many tasks are ready in one queue."""
        name, domain = self.param("taskType"), self.param("domain")
        self.answer(sum(each.ready for each in await self.queues() if (each.name, each.domain) == (name, domain)))


class QueueAll(QueueHandler):
    async def get(self) -> None:
        """How many tasks are ready in every queue."""
        self.answer(conductor.queue_sizes(await self.queues()))


class QueueVerbose(QueueHandler):
    async def get(self) -> None:
        """How many tasks are ready and how many are with workers, in every queue."""
        self.answer(conductor.queue_details(await self.queues()))


class PollData(QueueHandler):
    async def get(self) -> None:
        """Who polled the queue `taskType` last."""
        name = self.param("taskType")
        self.answer([conductor.poll_data(each) for each in self.polls() if each.name == name])


class PollDataAll(QueueHandler):
    async def get(self) -> None:
        """Who polled which queue last."""
        self.answer([conductor.poll_data(each) for each in self.polls()])


# Parts


class _Served:
    """Which queue the tasks came from, by tenant and id, that this process has handed out: spares update-v2
    a read."""

    def __init__(self) -> None:
        self._wants: OrderedDict[tuple[str, str], Want] = OrderedDict()

    def remember(self, task: tuple[str, str], want: Want) -> None:
        self._wants[task] = want
        if len(self._wants) > REMEMBERED:
            self._wants.popitem(last=False)

    def want(self, task: tuple[str, str]) -> Want | None:
        return self._wants.pop(task, None)


_served = _Served()


def receipt_json(receipt: Receipt) -> Json:
    return {"taskId": receipt.task_id, "landed": receipt.landed, "reason": receipt.reason}


def _milliseconds(seconds: float | None) -> int | None:
    if seconds is not None and not 0 < seconds <= 7 * 24 * 3600:
        raise BadInput(f"leaseSeconds must be above 0 and at most a week, not {seconds:g}")
    return None if seconds is None else int(seconds * 1000)


ROUTES = [
    Route("/api/tasks/report", ReportMany),
    Route("/api/tasks/poll", Poll),
    Route("/api/tasks/poll/batch/{name}", PollBatch),
    Route("/api/tasks/update-v2", UpdateAndPoll),
    Route("/api/tasks/extend", Extend),
    Route("/api/tasks", Update),
    Route("/api/tasks/poll/{name}", PollOne),
    Route("/api/tasks/queue/sizes", QueueSizes),
    Route("/api/tasks/queue/size", QueueSize),
    Route("/api/tasks/queue/all", QueueAll),
    Route("/api/tasks/queue/all/verbose", QueueVerbose),
    Route("/api/tasks/queue/polldata", PollData),
    Route("/api/tasks/queue/polldata/all", PollDataAll),
    Route("/api/tasks/{task_id}", One),
    Route("/api/tasks/{task_id}/log", Log),
    Route("/api/tasks/{execution_id}/{ref}/{status}", UpdateByReference),
    Route("/api/agent/tasks/{execution_id}/{ref}/{status}", UpdateByReference),
    Route("/api/tasks/{execution_id}/{ref}/{status}/sync", UpdateAndRead),
]
