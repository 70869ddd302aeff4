"""The client of one server: one method per endpoint, each answering the decoded JSON.

All methods are coroutines for any event loop; `wait_ms` lets the server hold its answer until there is news.
Failures are the errors of `client.errors`.
"""

from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping, Sequence
from typing import Any
from urllib.parse import quote

import msgspec

from agentspan.client.portal import Portal, portal
from agentspan.client.sse import follow, watch
from agentspan.client.transport import SLACK_SECONDS, Transport, path_of

Json = dict[str, Any]

PLAIN = " !#$&'()*+,/:;=?@[]"
EMBED_SECONDS = 600.0
RESOLVE_SECONDS = 10.0
FILE_SECONDS = 600.0


class Client:
    """Speaks to the server at `url` (with or without `/api`), as `api_key`, as `auth_key` with `auth_secret`, or by a
    `token` that somebody else got.

    `user`: the person who asks, by their own word.
    """

    def __init__(
        self,
        url: str,
        *,
        api_key: str | None = None,
        auth_key: str | None = None,
        auth_secret: str | None = None,
        token: str | None = None,
        via: Portal | None = None,
        user: str | None = None,
        revive: Callable[[], str | None] | None = None,
    ) -> None:
        self._portal = via or portal()
        self.transport = Transport(
            url, api_key=api_key, auth_key=auth_key, auth_secret=auth_secret, via=self._portal, revive=revive
        )
        if token:
            self.transport.headers["X-Authorization"] = token
        if user:
            # A header holds no more than ASCII.
            self.transport.headers["X-Agentspan-User"] = quote(user, safe=PLAIN)

    @property
    def url(self) -> str:
        """The server's address, without `/api`."""
        return self.transport.root

    async def aclose(self) -> None:
        """Close the connections."""
        await self.transport.aclose()

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def health(self) -> Json:
        """`{"healthy": true, ...}`; ServerUnreachableError if nobody answers."""
        return await self._json("GET", "/health", patience=0)

    # Agents: compile, deploy, start

    async def start(self, request: Json) -> Json:
        """Start a run; `{executionId, agentName, requiredWorkers}`. With an idempotencyKey it survives lost answers."""
        return await self._json("POST", "/agent/start", json=request, again=bool(request.get("idempotencyKey")))

    async def deploy(self, request: Json) -> Json:
        """Store an agent under its name; `{agentName, requiredWorkers}`."""
        return await self._json("POST", "/agent/deploy", json=request, again=True)

    async def compile(self, request: Json) -> Json:
        """What a start would register; `{workflowDef, requiredWorkers}`. Nothing is stored."""
        return await self._json("POST", "/agent/compile", json=request, again=True)

    async def agents(self) -> list[Json]:
        """The deployed agents."""
        return await self._list("GET", "/agent/list")

    async def agent(self, name: str, version: int | None = None) -> Json:
        """The agentConfig of a deployed agent."""
        return await self._json("GET", path_of("agent", name), params={"version": version})

    async def delete_agent(self, name: str, version: int | None = None) -> None:
        """Remove a deployed agent."""
        await self.transport.send("DELETE", path_of("agent", name), params={"version": version})

    async def definition(self, name: str, version: int | None = None) -> Json:
        """A deployed agent as a workflow definition."""
        return await self._json("GET", path_of("agent", "definitions", name), params={"version": version})

    async def versions(self, name: str) -> list[Json]:
        """The versions of a deployed agent, the newest first."""
        return await self._list("GET", path_of("agent", name, "versions"))

    async def begun(self, name: str, keys: Sequence[str]) -> dict[str, Json]:
        """Which of at most 1,000 idempotency keys have begun a run of an agent: `{executionId, status}` by key."""
        body = {"keys": list(keys)}
        answer = await self._json("POST", path_of("agent", name, "begun"), json=body, again=True)
        return dict(answer.get("runs") or {})

    async def rollback(self, name: str, version: int) -> Json:
        """Make an old version's content the latest again; `{agentName, version}`, the new version's number."""
        return await self._json("POST", path_of("agent", name, "rollback"), json={"version": version}, again=True)

    async def diff(self, name: str, before: int, after: int) -> list[Json]:
        """What differs between two versions: `{path, before, after}` each."""
        return await self._list("GET", path_of("agent", name, "diff"), params={"from": before, "to": after})

    # Prompt templates

    async def prompts(self) -> list[Json]:
        """The prompt templates, each in its latest version."""
        return await self._list("GET", "/prompts")

    async def prompt(self, name: str, version: int | None = None) -> Json:
        """One prompt template: `{name, version, template, variables, ...}`."""
        return await self._json("GET", path_of("prompts", name), params={"version": version})

    async def prompt_versions(self, name: str) -> list[Json]:
        """All versions of a prompt template, the newest first."""
        return await self._list("GET", path_of("prompts", name, "versions"))

    async def save_prompt(self, name: str, text: str, description: str | None = None) -> Json:
        """Keep a text under a name; `{name, version}`, a new version if the text is new."""
        params = {"description": description}
        return await self._json("POST", path_of("prompts", name), json=text, params=params, again=True)

    async def delete_prompt(self, name: str) -> None:
        """Remove a prompt template in all its versions."""
        await self.transport.send("DELETE", path_of("prompts", name))

    # Schedules

    async def schedules(self, agent: str | None = None) -> list[Json]:
        """The schedules of an agent, or all."""
        return await self._list("GET", "/scheduler/schedules", params={"workflowName": agent})

    async def schedule(self, name: str) -> Json:
        """One schedule, with its next and its last run."""
        return await self._json("GET", path_of("scheduler", "schedules", name))

    async def save_schedule(self, request: Json) -> Json:
        """Keep a schedule, or replace the one of that name."""
        return await self._json("POST", "/scheduler/schedules", json=request, again=True)

    async def pause_schedule(self, name: str) -> Json:
        """Let a schedule rest."""
        return await self._json("PUT", path_of("scheduler", "schedules", name, "pause"))

    async def resume_schedule(self, name: str) -> Json:
        """Let a schedule go on."""
        return await self._json("PUT", path_of("scheduler", "schedules", name, "resume"))

    async def delete_schedule(self, name: str) -> None:
        """Remove a schedule."""
        await self.transport.send("DELETE", path_of("scheduler", "schedules", name))

    async def run_schedule(self, name: str) -> Json:
        """Start now what a schedule would start; `{executionId}`."""
        return await self._json("POST", path_of("scheduler", "schedules", name, "run"))

    async def next_moments(self, cron: str, count: int = 5, timezone: str = "UTC") -> list[int]:
        """The next times of a cron expression, in ms since the epoch."""
        params = {"cronExpression": cron, "limit": count, "zoneId": timezone}
        moments: list[Any] = await self._list("GET", "/scheduler/nextFewSchedules", params=params)
        return moments

    # Webhooks

    async def hooks(self) -> list[Json]:
        """The webhooks, without their secrets."""
        return await self._list("GET", "/hooks")

    async def save_hook(self, name: str, hook: Json) -> Json:
        """Register a webhook: `{agent, secret, version?, prompt?, toleranceSeconds?}`."""
        return await self._json("PUT", path_of("hooks", name), json=hook)

    async def delete_hook(self, name: str) -> None:
        """Remove a webhook."""
        await self.transport.send("DELETE", path_of("hooks", name))

    # One execution: how it stands

    async def status(self, execution_id: str, *, wait_ms: int = 0) -> Json:
        """The state of a run; with `wait_ms` the answer comes when the run ends, at the latest after that time."""
        return await self._json("GET", path_of("agent", execution_id, "status"), wait_ms=wait_ms)

    async def result(self, execution_id: str, *, wait_ms: int = 0) -> Json:
        """The result of a run as it stands: status, output, messages, toolCalls, tokenUsage, cost and what it waits
        for; with `wait_ms` as `status`."""
        return await self._json("GET", path_of("agent", execution_id, "result"), wait_ms=wait_ms)

    async def events(self, execution_id: str, *, after: int = 0, limit: int = 1000) -> Json:
        """A page of the run's log: `{events, last}`, from the sequence number after `after`."""
        params = {"after": after, "limit": limit}
        return await self._json("GET", path_of("agent", execution_id, "events"), params=params)

    def follow(self, execution_id: str, *, after: int = 0) -> "Following":
        """The run's events from the sequence number after `after` to its end, as they happen."""
        return Following(follow(self.transport, execution_id, after), self._portal)

    def changes(self) -> "Following":
        """Which runs move anywhere on the server, from now on: `{"type": "changes", executions, ended, requests,
        workers}`, or `{"type": "missed"}` when everything must be read anew."""
        return Following(watch(self.transport), self._portal)

    async def run(self, execution_id: str) -> Json:
        """The run with its tasks and token usage (`AgentRun`)."""
        return await self._json("GET", path_of("agent", "execution", execution_id))

    async def execution(self, execution_id: str) -> Json:
        """The run in short, with its current task."""
        return await self._json("GET", path_of("agent", "executions", execution_id))

    async def execution_full(self, execution_id: str) -> Json:
        """The run as a Conductor workflow with all its tasks."""
        return await self._json("GET", path_of("agent", "executions", execution_id, "full"))

    async def execution_tasks(
        self, execution_id: str, *, status: str | None = None, start: int = 0, count: int = 15
    ) -> Json:
        """A page of the run's tasks: `{results, totalHits, summary}`."""
        params = {"status": status, "start": start, "count": count}
        return await self._json("GET", path_of("agent", "executions", execution_id, "tasks"), params=params)

    async def task_log(self, task_id: str) -> list[Json]:
        """What a task wrote: `[{log, taskId, createdTime}]`."""
        return await self._list("GET", path_of("agent", "tasks", task_id, "log"))

    # Executions: lists

    async def executions(
        self,
        *,
        cursor: str = "",
        start: int | None = None,
        size: int = 20,
        sort: str | None = None,
        count: str | None = None,
        **filters: Any,
    ) -> Json:
        """A page of runs, newest first: `{totalHits, totalCapped, nextCursor, results}`.

        `cursor`: the `nextCursor` of the page before. `count`: capped (the default: up to 10,000) or none. `filters`:
        see `FILTERS`; several values may be given as a list. With `start` it is a page by number, with each run's
        input and output.
        """
        place = {"cursor": cursor, "count": count or "capped"} if start is None else {"start": start}
        params = {**place, "size": size, "sort": sort, **_filters(filters)}
        return await self._json("GET", "/agent/executions", params=params)

    async def facets(self, **filters: Any) -> Json:
        """Which values the runs of a list have: `{status: {word: n}, agentName, model, ..., capped}`."""
        return await self._json("GET", "/agent/executions/facets", params=_filters(filters))

    async def stats(
        self, *, since: int | None = None, until: int | None = None, buckets: int = 60, agent_name: str | None = None
    ) -> Json:
        """What became of the runs of a time (the last day): `{buckets, totals, durations, failures, agents, ...}`."""
        params = {"since": since, "until": until, "buckets": buckets, "agentName": agent_name}
        return await self._json("GET", "/stats", params=params)

    async def costs(self, by: str = "agent", *, since: int | None = None, until: int | None = None) -> Json:
        """What was spent in a time (the last 30 days), `by` agent, model, day or session: `{rows, total}`."""
        return await self._json("GET", "/costs", params={"by": by, "since": since, "until": until})

    async def workers(self) -> Json:
        """Every worker and every queue, each with a sentence on how it is: `{now, workers, queues}`."""
        return await self._json("GET", "/workers")

    async def config(self) -> Json:
        """What the server runs with: `{version, database, settings, packages, ...}`, nothing secret."""
        return await self._json("GET", "/config")

    async def search(
        self, query: str = "", *, start: int = 0, size: int = 20, sort: str | None = None, free_text: str | None = None
    ) -> Json:
        """A page of runs by Conductor's query language."""
        params = {"query": query or None, "start": start, "size": size, "sort": sort, "freeText": free_text}
        return await self._json("GET", "/agent/executions/search", params=params)

    # One execution: control

    async def respond(
        self, execution_id: str, answer: Any, *, request_id: str | None = None, by: str | None = None
    ) -> None:
        """Answer an open human request: `request_id`, or the only (oldest) one. `by`: who answers."""
        body = dict(answer) if isinstance(answer, Mapping) else {"message": answer}
        if request_id is not None:
            body["requestId"] = request_id
        path = path_of("agent", execution_id, "respond")
        await self.transport.send("POST", path, json=body, params={"by": by or None})

    async def pause(self, execution_id: str) -> None:
        """Start nothing new in the run until it is resumed."""
        await self.transport.send("PUT", path_of("agent", execution_id, "pause"), again=False)

    async def resume(self, execution_id: str) -> None:
        """Let a paused run go on."""
        await self.transport.send("PUT", path_of("agent", execution_id, "resume"), again=False)

    async def cancel(self, execution_id: str, reason: str = "") -> None:
        """End the run and all below it now: TERMINATED."""
        path = path_of("agent", execution_id, "cancel")
        await self.transport.send("DELETE", path, params={"reason": reason or None})

    async def stop(self, execution_id: str) -> None:
        """Let the run end after its present turn: COMPLETED."""
        await self.transport.send("POST", path_of("agent", execution_id, "stop"), again=True)

    async def signal(self, execution_id: str, message: str) -> None:
        """Text that the model sees from the next turn on; empty text takes it back."""
        path = path_of("agent", execution_id, "signal")
        await self.transport.send("POST", path, json={"message": message}, again=True)

    async def fork(self, execution_id: str, at: int, edits: Json | None = None) -> Json:
        """A new run whose history is this one's up to event `at`, with edits; `{executionId}`."""
        path = path_of("agent", "executions", execution_id, "fork")
        return await self._json("POST", path, json={"at": at, "edits": edits or {}})

    async def steps(self, execution_id: str) -> list[Json]:
        """Every event of the run as a line: `{seq, kind, agent, summary, forkable, edits, ...}`."""
        answer = await self._json("GET", path_of("agent", execution_id, "steps"))
        return list(answer.get("steps") or ())

    async def timeline(self, execution_id: str, after: int = 0) -> Json:
        """The run and all below it, its tasks as spans of time: `{executions, spans, last, ...}`; what is new since
        event `after`."""
        params = {"after": after or None}
        return await self._json("GET", path_of("agent", execution_id, "timeline"), params=params)

    async def why(self, execution_id: str) -> Json:
        """Why the run does not go on, what it does, or why it failed: `{status, sentence, reasons}`."""
        return await self._json("GET", path_of("agent", execution_id, "why"))

    async def task_detail(self, task_id: str) -> Json:
        """One task closely: input, output, the messages its model was sent, attempts, logs."""
        return await self._json("GET", path_of("agent", "tasks", task_id, "detail"))

    async def moment(self, execution_id: str, seq: int) -> Json:
        """The run as it stood right after event `seq`: `{state, messages, pending, cost, ...}`."""
        return await self._json("GET", path_of("agent", execution_id, "at", str(seq)))

    async def forks(self, execution_id: str) -> list[Json]:
        """The runs that were forked from this one: `{executionId, agentName, status, startTime, at}`."""
        return await self._list("GET", path_of("agent", execution_id, "forks"))

    async def compare(self, a: str, b: str) -> Json:
        """Two runs step by step: `{same, a, b, firstDifference, rows, ...}`."""
        return await self._json("GET", "/agent/compare", params={"a": a, "b": b})

    async def export(self, execution_id: str) -> str:
        """The run as the text of a file."""
        return str(await self.transport.send("GET", path_of("agent", execution_id, "export"), seconds=FILE_SECONDS))

    async def import_run(self, data: bytes, *, resume: bool = False) -> Json:
        """Take in a run out of a file; `{executionId, importedFrom}`."""
        params = {"resume": "true" if resume else None}
        body = msgspec.Raw(data)
        return await self._json("POST", "/agent/import", json=body, params=params, seconds=FILE_SECONDS)

    async def change_budget(self, execution_id: str, budget: Json) -> Json:
        """Raise the limits of a run; one that was ended for them goes on."""
        return await self._json("POST", path_of("agent", execution_id, "budget"), json=budget)

    async def inbox(
        self,
        *,
        status: str | None = None,
        execution_id: str | None = None,
        agent_name: str | None = None,
        kind: str | None = None,
        to: str | None = None,
    ) -> list[Json]:
        """What runs ask people, oldest first: of all, or of one run and below it."""
        params = {"status": status, "executionId": execution_id, "agent": agent_name, "kind": kind, "to": to}
        found: list[Json] = []
        while True:
            page = await self._json("GET", "/inbox", params=params)
            found += page.get("requests") or ()
            params["cursor"] = page.get("nextCursor")
            if not params["cursor"]:
                return found

    async def inbox_page(
        self,
        *,
        status: str = "open",
        cursor: str = "",
        limit: int = 100,
        agent_name: str | None = None,
        kind: str | None = None,
        to: str | None = None,
    ) -> Json:
        """A page of the requests of all runs: `{requests, nextCursor}`, no cursor on the last page. The open ones come
        oldest first, the settled ones (`status="answered"`) the last one first."""
        params = {
            "status": status, "cursor": cursor or None, "limit": limit,
            "agent": agent_name, "kind": kind, "to": to,
        }  # fmt: skip
        return await self._json("GET", "/inbox", params=params)

    async def link(self, request_id: str, *, expires_seconds: int, by: str | None = None) -> Json:
        """A link by which who has no credentials answers this request once: `{token, url}`."""
        body = {"expiresSeconds": expires_seconds, "by": by or ""}
        return await self._json("POST", path_of("inbox", request_id, "link"), json=body, again=True)

    async def message_status(self, execution_id: str, message_id: str) -> Json:
        """What became of a message: `{messageId, status, turn}`, the status queued, seen or run_ended."""
        return await self._json("GET", path_of("agent", execution_id, "messages", message_id))

    async def retry(self, execution_id: str, *, nested: bool = False) -> None:
        """Let a failed run go on from where it failed."""
        path = path_of("agent", "executions", execution_id, "retry")
        await self.transport.send("POST", path, params={"resumeSubworkflowTasks": "true" if nested else None})

    async def restart(self, execution_id: str) -> None:
        """Let an ended run begin again."""
        await self.transport.send("POST", path_of("agent", "executions", execution_id, "restart"))

    async def rerun(self, execution_id: str, request: Json | None = None) -> str:
        """Run again from a task; the new run's id."""
        path = path_of("agent", "executions", execution_id, "rerun")
        body = {"reRunFromWorkflowId": execution_id, **(request or {})}
        return str(await self.transport.send("POST", path, json=body))

    async def terminate(self, execution_id: str, reason: str = "") -> None:
        """End the run now, by its execution path."""
        path = path_of("agent", "executions", execution_id)
        await self.transport.send("DELETE", path, params={"reason": reason or None})

    async def prune(self, request: Json) -> Json:
        """Remove ended runs by {olderThan?, keep?, status?, agent?, dryRun?}, up to 1,000: {runs, rows, more, ...}."""
        return await self._json("POST", "/admin/prune", json=request)

    async def remove(self, execution_id: str) -> None:
        """Remove a run that has ended, for ever."""
        await self.transport.send("DELETE", path_of("workflow", execution_id, "remove"))

    async def bulk(self, action: str, execution_ids: Sequence[str], *, reason: str | None = None) -> Json:
        """`pause`, `resume`, `restart`, `retry` or `terminate` many runs; the answer says which failed and why."""
        method = "PUT" if action in ("pause", "resume") else "POST"
        path = path_of("agent", "executions", "bulk", action)
        return await self._json(method, path, json=list(execution_ids), params={"reason": reason}, again=False)

    # Tasks: the workers' side

    async def poll(self, request: Json) -> list[Json]:
        """Lease tasks: one long poll over all queues of a worker; answers as soon as one task is ready."""
        answer = await self._json("POST", "/tasks/poll", json=request, wait_ms=request.get("timeoutMs", 0), patience=0)
        return list(answer.get("tasks") or ())

    async def report(self, results: list[Json], poll: Json | None = None) -> Json:
        """Report outcomes, and poll in the same request; `{receipts: [{taskId, landed, reason}], tasks}`."""
        body: Json = {"results": results}
        if poll is not None:
            body["poll"] = poll
        waited = (poll or {}).get("timeoutMs", 0)
        return await self._json("POST", "/tasks/report", json=body, wait_ms=waited, patience=0)

    async def extend(self, task_ids: list[str], worker_id: str, lease_seconds: float) -> Json:
        """Keep leases; `{extended, lost}`: what is lost was cancelled or taken over."""
        body = {"taskIds": task_ids, "workerId": worker_id, "leaseSeconds": lease_seconds}
        return await self._json("POST", "/tasks/extend", json=body, patience=0, seconds=lease_seconds)

    async def task(self, task_id: str) -> Json:
        """One task."""
        return await self._json("GET", path_of("tasks", task_id))

    async def queue_sizes(self) -> dict[str, int]:
        """How many tasks wait in each queue."""
        return await self._json("GET", "/tasks/queue/all")

    async def poll_data(self) -> list[Json]:
        """Who polled which queue last: `[{queueName, domain, workerId, lastPollTime}]`."""
        return await self._list("GET", "/tasks/queue/polldata/all")

    # Credentials

    async def credentials(self) -> list[Json]:
        """The stored credentials without their values: `{name, partial, created_at, updated_at}` each."""
        return await self._list("GET", "/credentials")

    async def credential(self, name: str) -> Json:
        """One of them."""
        return await self._json("GET", path_of("credentials", name))

    async def save_credential(self, name: str, value: str) -> None:
        """Store a credential, or replace the one of that name."""
        await self.transport.send("PUT", path_of("credentials", name), json={"value": value})

    async def delete_credential(self, name: str) -> None:
        """Delete a credential; no error if there is none."""
        await self.transport.send("DELETE", path_of("credentials", name), again=True)

    async def bindings(self) -> list[Json]:
        """Which names stand for which stored credentials: `{logical_key, store_name}` each."""
        return await self._list("GET", "/credentials/bindings")

    async def bind_credential(self, logical_key: str, store_name: str) -> None:
        """Let a name stand for a stored credential."""
        path = path_of("credentials", "bindings", logical_key)
        await self.transport.send("PUT", path, json={"store_name": store_name})

    async def unbind_credential(self, logical_key: str) -> None:
        """Let a name stand for itself again."""
        await self.transport.send("DELETE", path_of("credentials", "bindings", logical_key), again=True)

    async def rotate_credentials(self) -> Json:
        """Seal credentials of former master keys under the present one: `{keyId, resealed, left, names}`. Ask again
        until `resealed` is 0."""
        return await self._json("POST", "/credentials/rotate", again=True)

    async def resolve_credentials(self, token: str, names: Sequence[str]) -> dict[str, str]:
        """The values of those names that are stored and that the run of the execution token declares."""
        body = {"token": token, "names": list(names)}
        return await self._json(
            "POST", "/credentials/resolve", json=body, again=True, seconds=RESOLVE_SECONDS, patience=RESOLVE_SECONDS
        )

    async def used_credentials(self, execution_id: str) -> list[Json]:
        """Which credentials the tasks of a run were given: `{taskId, name, since}` each."""
        return await self._list("GET", path_of("agent", "executions", execution_id, "credentials"))

    async def ticket(self) -> str:
        """What lets a person in to the server's pages once, within a minute: `/login?ticket=...&next=/ui/...`."""
        return str((await self._json("POST", "/auth/ticket", again=True))["ticket"])

    # Who may do what

    async def login(self, username: str, password: str) -> Json:
        """Log in as a user; `{token, user: {id, username, name, role, tenant}}`."""
        return await self._json("POST", "/auth/login", json={"username": username, "password": password})

    async def me(self) -> Json:
        """As whom the server sees this client: `{kind, name, tenant, role, scopes}`."""
        return await self._json("GET", "/auth/me")

    async def change_password(self, old: str, new: str) -> None:
        """Change one's own password."""
        await self.transport.send("POST", "/auth/password", json={"old": old, "new": new})

    async def users(self) -> list[Json]:
        """The users of the tenant: `{name, displayName, email, role, tenant, disabled, lastSeenAt, ...}` each."""
        return await self._list("GET", "/users")

    async def user(self, name: str) -> Json:
        """One of them."""
        return await self._json("GET", path_of("users", name))

    async def create_user(self, user: Json) -> Json:
        """Make a user: `{name, role, password?, displayName?, email?, tenant?}`."""
        return await self._json("POST", "/users", json=user)

    async def update_user(self, name: str, changes: Json) -> Json:
        """Change a user: role, disabled, displayName, email, password."""
        return await self._json("PATCH", path_of("users", name), json=changes, again=True)

    async def delete_user(self, name: str) -> None:
        """Remove a user."""
        await self.transport.send("DELETE", path_of("users", name))

    async def keys(self) -> list[Json]:
        """The API keys, without what opens: `{id, name, role, scopes, createdBy, expiresAt, revokedAt, ...}` each."""
        return await self._list("GET", "/keys")

    async def create_key(self, key: Json) -> Json:
        """Make an API key: `{name, role or scopes, expiresSeconds?, tenant?}`; the answer holds `key`, this once."""
        return await self._json("POST", "/keys", json=key)

    async def revoke_key(self, key_id: str) -> None:
        """Let a key open nothing any more."""
        await self.transport.send("DELETE", path_of("keys", key_id), again=True)

    async def tenants(self) -> list[Json]:
        """The tenants of the installation: `{name, title, createdAt, disabled, quotas}` each."""
        return await self._list("GET", "/tenants")

    async def tenant(self, name: str) -> Json:
        """One of them."""
        return await self._json("GET", path_of("tenants", name))

    async def create_tenant(self, tenant: Json) -> Json:
        """Make a tenant: `{name, title?, quotas?}`."""
        return await self._json("POST", "/tenants", json=tenant)

    async def update_tenant(self, name: str, changes: Json) -> Json:
        """Change a tenant: title, disabled, quotas."""
        return await self._json("PATCH", path_of("tenants", name), json=changes, again=True)

    async def delete_tenant(self, name: str) -> None:
        """Remove a tenant and all that is its own."""
        await self.transport.send("DELETE", path_of("tenants", name), params={"confirm": name})

    async def audit(
        self,
        *,
        action: str | None = None,
        by: str | None = None,
        subject: str | None = None,
        since: int | None = None,
        until: int | None = None,
        limit: int = 100,
        cursor: str = "",
    ) -> Json:
        """A page of decisions and changes, the newest first: `{entries, nextCursor}`."""
        params = {
            "action": action, "by": by, "subject": subject, "since": since, "until": until,
            "limit": limit, "cursor": cursor or None,
        }  # fmt: skip
        return await self._json("GET", "/audit", params=params)

    async def share(self, execution_id: str, share: Json | None = None) -> Json:
        """A link by which this run can be read: `{expiresSeconds?, note?}` to `{id, token, path, expiresAt}`."""
        path = path_of("agent", "executions", execution_id, "share")
        return await self._json("POST", path, json=share or {})

    async def shares(self) -> list[Json]:
        """The links: `{id, executionId, createdBy, createdAt, expiresAt, revokedAt, note}` each."""
        return await self._list("GET", "/shares")

    async def revoke_share(self, share_id: str) -> None:
        """Let a link open nothing any more."""
        await self.transport.send("DELETE", path_of("shares", share_id), again=True)

    # Models

    async def embed(self, model: str, texts: Sequence[str]) -> list[list[float]]:
        """A vector for each text, by an embedding model such as `openai/text-embedding-3-small`."""
        body = {"model": model, "input": list(texts)}
        answer = await self._json("POST", "/embeddings", json=body, seconds=EMBED_SECONDS)
        return list(answer["embeddings"])

    # Conductor's side

    async def workflow(self, execution_id: str, *, include_tasks: bool = True) -> Json:
        """The run as a Conductor workflow."""
        params = {"includeTasks": "true" if include_tasks else "false"}
        return await self._json("GET", path_of("workflow", execution_id), params=params)

    async def send_message(self, execution_id: str, message: Json) -> str:
        """Put a message into the run's queue; its id."""
        return str(await self.transport.send("POST", path_of("workflow", execution_id, "messages"), json=message))

    async def push_event(self, execution_id: str, event: Json) -> None:
        """Show an event of a framework on the run's stream."""
        await self.transport.send("POST", path_of("agent", "events", execution_id), json=event)

    async def _json(self, method: str, path: str, *, wait_ms: int = 0, **options: Any) -> Json:
        if wait_ms:
            options["seconds"] = wait_ms / 1000 + SLACK_SECONDS
            if method == "GET":
                options["params"] = {**options.get("params", {}), "waitMs": wait_ms}
        answer = await self.transport.send(method, path, **options)
        return answer if isinstance(answer, dict) else {}

    async def _list(self, method: str, path: str, **options: Any) -> list[Json]:
        answer = await self.transport.send(method, path, **options)
        return answer if isinstance(answer, list) else []


class Following(AsyncIterator[Json]):
    """An async generator of the portal's loop, to be iterated in any loop."""

    def __init__(self, events: AsyncGenerator[Json], via: Portal) -> None:
        self._events, self._portal = events, via

    async def __anext__(self) -> Json:
        event = await self._portal.bridge(_next(self._events))
        if event is None:
            raise StopAsyncIteration
        return event

    async def aclose(self) -> None:
        """End the stream's connection."""
        await self._portal.bridge(_close(self._events))


async def _next(events: AsyncIterator[Json]) -> Json | None:
    return await anext(events, None)


async def _close(events: AsyncGenerator[Json]) -> None:
    await events.aclose()


def _filters(given: Mapping[str, Any]) -> Json:
    """The parameters of filters; TypeError for one that there is not."""
    if unknown := given.keys() - FILTERS.keys():
        raise TypeError(f"there is no filter {', '.join(sorted(unknown))}; there are {', '.join(FILTERS)}")
    return {
        FILTERS[name]: ",".join(map(str, value)) if isinstance(value, list | tuple | set) else value
        for name, value in given.items()
        if value not in (None, "", [], ())
    }


FILTERS = {
    "free_text": "freeText",
    "status": "status",
    "agent_name": "agentName",
    "model": "model",
    "finish_reason": "finishReason",
    "session_id": "sessionId",
    "correlation_id": "correlationId",
    "version": "version",
    "min_cost": "minCost",
    "waiting": "waiting",
    "since": "since",
    "until": "until",
}
"""What runs can be filtered by, and the parameter that says so."""
