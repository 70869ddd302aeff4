"""Time travel: a run as it stood at each of its events, a fork from there, and two runs side by side.

What is shown is saved as a static page; while a kernel runs, a slider stands in its place. Both do what the object's
own methods do, so a notebook can also be written that travels without a hand.
"""

from functools import cache
from pathlib import Path
from typing import Any

from agentspan import drawing
from agentspan.agents.compare import Comparison, comparison_of
from agentspan.agents.default import default_runtime
from agentspan.agents.exceptions import AgentspanError
from agentspan.agents.handle import ENDED, AgentHandle
from agentspan.agents.host import Host
from agentspan.agents.result import AgentResult, RunStep, answer_text, step_of
from agentspan.drawing import transcript, tree, words
from agentspan.drawing.markup import Html, box, code, fold, join, muted, tag
from agentspan.drawing.sides import sides
from agentspan.drawing.value import table
from agentspan.notebook.mode import LIVE, mode

Json = dict[str, Any]
Run = str | AgentHandle | AgentResult
"""A run: its execution id, its handle or its result."""

SOURCE = Path(drawing.__file__).with_name("travel.js")
WIDGET = "application/vnd.jupyter.widget-view+json"
WAIT_MS = 20_000
AROUND = 12
"""So many steps before and after the present one are told in plain text."""
ROWS = 400
"""So many steps are saved with the page."""


class Travel:
    """A run and a place in its log. `steps` are its events, `seq` the present one, `moment` the run right after it:
    `{seq, status, state, messages, pending, cost, ...}`. `forks` are the runs that were forked from here."""

    def __init__(self, run: Run, steps: list[Json], moment: Json, runtime: Host) -> None:
        self.execution_id = _id(run)
        self.handle = run if isinstance(run, AgentHandle) else AgentHandle(self.execution_id, runtime)
        self.forks: list[AgentHandle] = []
        self._told: list[Json] = []
        self._runtime, self._steps = runtime, steps
        self._moments: dict[int, Json] = {moment["seq"]: moment}
        self._seq: int = moment["seq"]
        self._widget: Any = None

    @property
    def steps(self) -> list[RunStep]:
        """The events of the run, as it was when it was read."""
        return [step_of(each) for each in self._steps]

    @property
    def seq(self) -> int:
        """The number of the present event."""
        return self._seq

    @property
    def moment(self) -> Json:
        """The run as it stood right after the present event."""
        return self._moments[self._seq]

    async def to_async(self, seq: int) -> "Travel":
        """Go to an event by its number."""
        await self._moment(seq)
        self._seq = seq
        if self._widget is not None:
            self._widget.seq = seq
        return self

    async def fork_async(self, **edits: Any) -> AgentHandle:
        """A run of its own whose past is this one's up to the present event; `edits` as of AgentHandle.fork."""
        return await self._forked(self._seq, edits)

    async def refresh_async(self) -> "Travel":
        """Read the events anew, of a run that goes on."""
        self._steps = await _read_steps(self._runtime, self.execution_id)
        if self._widget is not None:
            self._widget.steps = self._steps
        return self

    def to(self, seq: int) -> "Travel":
        """See `to_async`."""
        return self._runtime.portal.call(self.to_async(seq))

    def back(self) -> "Travel":
        """One event back; stays at the first."""
        return self.to(max(self._steps[0]["seq"], self._seq - 1))

    def next(self) -> "Travel":
        """One event on; stays at the last."""
        return self.to(min(self._steps[-1]["seq"], self._seq + 1))

    def fork(self, **edits: Any) -> AgentHandle:
        """See `fork_async`."""
        return self._runtime.portal.call(self.fork_async(**edits))

    def refresh(self) -> "Travel":
        """See `refresh_async`."""
        return self._runtime.portal.call(self.refresh_async())

    def widget(self) -> Any:
        """The slider, an anywidget; made once."""
        if self._widget is None:
            self._widget = _slider()(
                steps=self._steps, seq=self._seq, moment=self.moment, run=self.execution_id, title=self._title()
            )
            self._widget.forks = list(self._told)
            self._widget.observe(self._moved, "seq")
            self._widget.observe(self._wished, "wish")
        return self._widget

    def __repr__(self) -> str:
        place = next(place for place, each in enumerate(self._steps) if each["seq"] == self._seq)
        shown = self._steps[max(0, place - AROUND) : place + AROUND + 1]
        width = len(str(shown[-1]["seq"]))
        head = f"{self._title()}: step {place + 1} of {len(self._steps)}"
        lines = [
            f"{'>' if each['seq'] == self._seq else ' '} {each['seq']:>{width}}  {each['kind']:<20} {each['summary']}"
            for each in shown
        ]
        return "\n".join([head, *(line.rstrip() for line in lines)])

    def _repr_html_(self) -> str:
        return drawn(self._title(), self.execution_id, self._steps, self.moment, self._told)

    def _repr_mimebundle_(self, include: Any = None, exclude: Any = None) -> Json:
        bundle: Json = {"text/plain": repr(self), "text/html": self._repr_html_()}
        if mode() == LIVE:
            bundle[WIDGET] = {"version_major": 2, "version_minor": 0, "model_id": self.widget().model_id}
        return bundle

    # What the slider says

    def _moved(self, change: Any) -> None:
        seq = int(change["new"])
        if seq in self._moments:
            self._show(seq)
        else:
            self._runtime.portal.spawn(self._fetch(seq), "moment")

    def _wished(self, change: Any) -> None:
        wish = change["new"]
        if wish and not self._widget.busy:
            self._widget.busy, self._widget.error = True, ""
            self._runtime.portal.spawn(self._grant(int(wish["seq"]), dict(wish.get("edits") or {})), "fork")

    async def _fetch(self, seq: int) -> None:
        try:
            await self._moment(seq)
        except AgentspanError as problem:
            self._widget.error = problem.message
        else:
            self._show(seq)

    def _show(self, seq: int) -> None:
        if self._widget.seq == seq:
            self._seq, self._widget.error = seq, ""
            self._widget.moment = self._moments[seq]

    async def _grant(self, seq: int, edits: Json) -> None:
        try:
            await self._forked(seq, edits)
        except (AgentspanError, TypeError) as problem:  # also an edit that there is not
            self._widget.error = str(problem)
        finally:
            self._widget.busy = False

    # Parts

    async def _moment(self, seq: int) -> Json:
        if seq not in self._moments:
            client = await self._runtime.client()
            self._moments[seq] = await client.moment(self.execution_id, seq)
        return self._moments[seq]

    async def _forked(self, seq: int, edits: Json) -> AgentHandle:
        handle = await self.handle.fork_async(seq, **edits)
        self.forks.append(handle)
        fork = {
            "executionId": handle.execution_id,
            "at": seq,
            "edits": sorted(edits),
            "status": "RUNNING",
            "answer": "",
        }
        self._told.append(fork)
        self._tell()
        self._runtime.portal.spawn(self._follow(len(self._told) - 1), "fork")
        return handle

    async def _follow(self, place: int) -> None:
        """Tell the end of a fork when it comes."""
        client, fork = await self._runtime.client(), self._told[place]
        body = await client.result(fork["executionId"], wait_ms=WAIT_MS)
        while body["status"] not in ENDED:
            body = await client.result(fork["executionId"], wait_ms=WAIT_MS)
        answer = body.get("reasonForIncompletion") or answer_text(body.get("output") or {})
        self._told[place] = {**fork, "status": body["status"], "answer": str(answer)}
        self._tell()

    def _tell(self) -> None:
        if self._widget is not None:
            self._widget.forks = list(self._told)

    def _title(self) -> str:
        return f"Run of {self._steps[0]['agent']}"


class SideBySide:
    """Two runs side by side; `comparison` is the same as an object (see `agentspan.agents.compare`)."""

    def __init__(self, body: Json) -> None:
        self._body = body
        self.comparison: Comparison = comparison_of(body)

    def __repr__(self) -> str:
        # How long they took is no difference of what they did, and never twice the same.
        return "\n".join(line for line in repr(self.comparison).splitlines() if not line.startswith("time (ms)"))

    def _repr_html_(self) -> str:
        return sides(self._body)


async def travel_async(run: Run, at: int | None = None, *, runtime: Host | None = None) -> Travel:
    """The run at event `at`, or at its last one, to go through its log and to fork it."""
    host, execution_id = _host(run, runtime=runtime), _id(run)
    steps = await _read_steps(host, execution_id)
    client = await host.client()
    return Travel(run, steps, await client.moment(execution_id, steps[-1]["seq"] if at is None else at), host)


def travel(run: Run, at: int | None = None, *, runtime: Host | None = None) -> Travel:
    """See `travel_async`."""
    host = _host(run, runtime=runtime)
    return host.portal.call(travel_async(run, at, runtime=host))


async def side_by_side_async(a: Run, b: Run, *, runtime: Host | None = None) -> SideBySide:
    """Two runs or forks, step by step, with what differs marked."""
    client = await _host(a, b, runtime=runtime).client()
    return SideBySide(await client.compare(_id(a), _id(b)))


def side_by_side(a: Run, b: Run, *, runtime: Host | None = None) -> SideBySide:
    """See `side_by_side_async`."""
    host = _host(a, b, runtime=runtime)
    return host.portal.call(side_by_side_async(a, b, runtime=host))


def drawn(title: str, execution_id: str, steps: list[Json], moment: Json, forks: list[Json]) -> Html:
    """A place in a run's log, as a page that stays as it is."""
    place = next((number for number, each in enumerate(steps, 1) if each["seq"] == moment["seq"]), 0)
    where = join(words.status_mark(moment.get("status")), muted(f" · step {place} of {len(steps)}"))
    head = tag(
        "div",
        tag("span", tag("b", title), " ", where),
        code(execution_id),
        css="display:flex;justify-content:space-between;gap:8px;flex-wrap:wrap",
    )
    facts = words.facts(
        f"{words.duration(moment.get('elapsedMs'))} after the start",
        words.plural((moment.get("promptTokens") or 0) + (moment.get("completionTokens") or 0), "token"),
        words.money(moment.get("cost"), bool(moment.get("costUnknown"))),
    )
    first = max(0, min(place - ROWS // 2, len(steps) - ROWS))
    rows = [_row(each, is_here=each["seq"] == moment["seq"]) for each in steps[first : first + ROWS]]
    return box(
        head,
        tag("div", facts, css="margin:0 0 8px;font-variant-numeric:tabular-nums"),
        tag("div", table(STEP_COLUMNS, rows), css="max-height:320px;overflow:auto;margin-bottom:8px"),
        fold(f"Messages at step {place}", transcript(moment.get("messages") or []), opened=True),
        fold("Shared state", tree(moment.get("state"))) if moment.get("state") else None,
        *(_open(each) for each in moment.get("pending") or ()),
        *(_fork(each) for each in forks),
        role="group",
        aria_label=title,
    )


def _row(step: Json, *, is_here: bool) -> Json:
    css = "font-weight:700" if is_here else ""
    return {
        "seq": tag("span", f"▸ {step['seq']}" if is_here else step["seq"], css=css),
        "kind": tag("span", step["kind"].replace("_", " "), css=f"white-space:nowrap;{css}"),
        "agent": tag("span", step["agent"], css=css),
        "summary": tag("span", step["summary"], css=f"overflow-wrap:anywhere;{css}"),
    }


def _open(task: Json) -> Html:
    return tag("div", muted("open: "), code(task["name"]), muted(f" {task['purpose']}"), tree(task.get("arguments"), 0))


def _fork(fork: Json) -> Html:
    changed = f", with {', '.join(fork['edits'])} changed" if fork["edits"] else ""
    told = muted(f" fork at step {fork['at']}{changed} ")
    return tag("div", words.status_mark(fork["status"]), told, code(fork["executionId"]), " ", fork["answer"])


@cache
def _slider() -> Any:
    """The widget's class; anywidget is imported when it is needed."""
    import anywidget
    import traitlets

    class Slider(anywidget.AnyWidget):
        """The log of a run under a slider. The page sets `seq` and `wish`, the kernel the rest."""

        _esm = SOURCE.read_text(encoding="utf-8")
        title = traitlets.Unicode("").tag(sync=True)
        run = traitlets.Unicode("").tag(sync=True)
        steps: Any = traitlets.List().tag(sync=True)
        seq = traitlets.Int(0).tag(sync=True)
        moment = traitlets.Dict().tag(sync=True)
        forks: Any = traitlets.List().tag(sync=True)
        busy = traitlets.Bool(False).tag(sync=True)
        error = traitlets.Unicode("").tag(sync=True)
        wish = traitlets.Dict(allow_none=True, default_value=None).tag(sync=True)

    return Slider


async def _read_steps(host: Host, execution_id: str) -> list[Json]:
    return await (await host.client()).steps(execution_id)


def _host(*runs: Run, runtime: Host | None) -> Host:
    return runtime or next((each.runtime for each in runs if isinstance(each, AgentHandle)), None) or default_runtime()


def _id(run: Run) -> str:
    """The id of a whole run: its log has the events of all its agents."""
    found = run if isinstance(run, str) else getattr(run, "execution_id", None)
    if not isinstance(found, str) or not found:
        raise TypeError(f"give a run by its execution id, its handle or its result, not as {type(run).__name__}")
    return found.partition(".")[0]


STEP_COLUMNS = (
    {"key": "seq", "label": "Step", "align": "right"},
    {"key": "kind", "label": ""},
    {"key": "agent", "label": "Agent"},
    {"key": "summary", "label": "What"},
)
