"""What a person is asked, or was asked and has answered: a card that stands still."""

from collections.abc import Mapping
from typing import Any

from agentspan.drawing.markup import Html, box, code, join, muted, tag
from agentspan.drawing.value import inline, pairs
from agentspan.drawing.words import AMBER, GREEN, GREY, RED, facts, moment

Json = Mapping[str, Any]


def asking(request: Json) -> Html:
    """A request as the inbox has it; with `decision` (`{status, answer, decidedBy, decidedAt}`) in it, or settled by
    itself, what was decided. `link` and `command` say where else it is answered."""
    settled = decided(request)
    head = _head(request) if settled is None else _verdict(request, settled)
    return box(head, *_body(request, settled), _foot(request) if settled is None else None, role="group")


def told(request: Json) -> str:
    """The same in one line of text."""
    settled = decided(request)
    if settled is None:
        where = f" ({request['command']})" if request.get("command") else ""
        return f"{title(request)} {inline(request.get('arguments') or request.get('content') or '')}{where}"
    said = verdict(request, settled)[2]
    who = f" by {settled['decidedBy']}" if settled.get("decidedBy") else ""
    return f"{said}{who}"


def decided(request: Json) -> Json | None:
    """How a request was settled; None if it is open."""
    if isinstance(given := request.get("decision"), Mapping):
        return given
    return None if request.get("status", "open") == "open" else request


def title(request: Json) -> str:
    """What is wanted, and of which tool."""
    name = KINDS.get(str(request.get("kind")), "Request")
    has_tool = request.get("tool") and request.get("kind") not in ("selection", "turn")
    return f"{name}: {request['tool']}" if has_tool else name


def verdict(request: Json, settled: Json) -> tuple[str, str, str]:
    """The sign, the colour and the words of a decision."""
    answer, status = settled.get("answer") or {}, settled.get("status")
    what = str(request.get("tool") or KINDS.get(str(request.get("kind")), "")).strip()
    if status in GONE:
        return "■", GREY, f"{GONE[str(status)]}: {what}"
    if request.get("kind") in ("approval", "review"):
        if answer.get("approved") is False:
            return "✕", RED, f"Rejected: {what}"
        return "✓", GREEN, f"{'Approved with changes' if answer.get('arguments') else 'Approved'}: {what}"
    if request.get("kind") == "selection":
        return "✓", GREEN, f"Next: {answer.get('selected')}"
    return "✓", GREEN, f"Answered: {what}"


def _head(request: Json) -> Html:
    who = " / ".join(map(str, request.get("path") or ())) or str(request.get("agentName") or "")
    due = f"until {moment(request['deadline'])}" if request.get("deadline") else None
    sign = tag("span", "◆", css=f"color:{AMBER};font-weight:600", aria_hidden="true")
    return tag("div", facts(join(sign, " ", tag("b", title(request))), who and muted(who), due and muted(due)))


def _verdict(request: Json, settled: Json) -> Html:
    sign, colour, said = verdict(request, settled)
    mark = tag("b", tag("span", sign, aria_hidden="true"), f" {said}", css=f"color:{colour}")
    by, at = settled.get("decidedBy"), settled.get("decidedAt")
    return tag("div", facts(mark, by and muted(f"by {by}"), at and muted(moment(at))))


def _body(request: Json, settled: Json | None) -> list[Html]:
    answer = (settled or {}).get("answer") or {}
    content = request.get("content")
    parts = [tag("div", content, css=PROSE)] if isinstance(content, str) and content else []
    arguments = answer.get("arguments") or (request.get("arguments") if request.get("kind") == "approval" else None)
    rest = {key: value for key, value in answer.items() if key not in SAID}
    for rows in (arguments, rest):
        if rows:
            parts.append(pairs([(name, inline(value, 400)) for name, value in rows.items()]))
    parts += [
        tag("div", inline(answer[key], 1000), css=PROSE) for key in ("reason", "edited_output") if answer.get(key)
    ]
    return parts


def _foot(request: Json) -> Html | None:
    link, command = request.get("link"), request.get("command")
    if not (link or command):
        return None
    there = tag("a", "Open in the inbox", href=link, target="_blank", rel="noopener", css="color:inherit")
    return tag("div", facts(there if link else None, code(command) if command else None), css="margin-top:8px")


KINDS = {
    "approval": "Approval wanted",
    "question": "Question",
    "review": "Review wanted",
    "selection": "Who is next?",
    "message": "Message wanted",
    "turn": "Your turn",
}
GONE = {"expired": "Expired", "canceled": "No longer asked"}
SAID = ("approved", "reason", "arguments", "edited_output", "selected")
PROSE = "white-space:pre-wrap;overflow-wrap:anywhere;margin:8px 0"
