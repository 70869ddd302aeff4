"""The server's log: as text for people or as one JSON object a line, with what each line is about, and no secret."""

import itertools
import logging
import os
import re
import sys
import traceback
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from secrets import token_hex
from typing import Any
from urllib.parse import unquote, urlsplit

import msgspec

from agentspan.config import Settings
from agentspan.engine.about import known

CHATTY = ("alembic", "asyncio")
SHORTEST_SECRET = 6
HIDDEN = "***"


def begin(settings: Settings, environ: Mapping[str, str] | None = None) -> None:
    """Write to stderr from now on, as the settings say."""
    handler = logging.StreamHandler(sys.stderr)
    form = Lines if settings.log_format == "JSON" else Text
    handler.setFormatter(form(secrets(settings, os.environ if environ is None else environ)))
    logging.basicConfig(level=settings.log_level, handlers=[handler], force=True)
    logging.captureWarnings(True)
    for name in CHATTY:
        logging.getLogger(name).setLevel(logging.WARNING)


def secrets(settings: Settings, environ: Mapping[str, str]) -> list[str]:
    """The values that this process knows and that no line may show, the longest first."""
    named = (
        part for name, value in environ.items() if name.upper().endswith(SECRET_ENDINGS) for part in value.split(",")
    )
    password = unquote(urlsplit(settings.database_url).password or "")
    found = {value for value in (settings.auth_secret, password, *named) if value and len(value) >= SHORTEST_SECRET}
    return sorted(found, key=len, reverse=True)


class Text(logging.Formatter):
    """Time, level, logger and message; what it is about stands behind."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")
        self._secrets = tuple(secrets)

    def formatMessage(self, record: logging.LogRecord) -> str:
        told = " ".join(f"{name}={value}" for name, value in about(record).items())
        line = super().formatMessage(record) + (f" [{told}]" if told else "")
        # A text of somebody's is no line of the log.
        return CONTROL.sub(lambda found: repr(found[0])[1:-1], line)

    def format(self, record: logging.LogRecord) -> str:
        return str(hidden(super().format(record), self._secrets))


class Lines(logging.Formatter):
    """One JSON object: ts, level, logger, message, what it is about, and the exception if there was one."""

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secrets)

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "ts": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
            **about(record),
        }
        if record.exc_info and record.exc_info[0]:
            line["exception"] = "".join(traceback.format_exception(*record.exc_info)).rstrip()
        # Values are hidden before they are escaped: a secret with a quote in it would not be found afterwards.
        shown = {name: hidden(value, self._secrets) for name, value in line.items()}
        return msgspec.json.encode(shown).decode()


def about(record: logging.LogRecord) -> dict[str, Any]:
    """What a line is about: what its writer said with it, and what the work is about in which it was written."""
    said: dict[str, Any] = getattr(record, "about", {})
    return {**known(), **said}


def hidden(value: Any, secrets: Iterable[str]) -> Any:
    """A text without secrets; what is no text, as it is."""
    if isinstance(value, str):
        for secret in secrets:
            value = value.replace(secret, HIDDEN)
    return value


SECRET_ENDINGS = ("_API_KEY", "_SECRET", "_PASSWORD", "_TOKEN", "_ACCESS_KEY", "_MASTER_KEY", "_MASTER_KEYS")
"""How the names of variables end that hold what nobody may read."""


CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")
PARAMETER = re.compile(r"\{(\w+)")
REQUEST_ID = re.compile(r"[\w.:/+=-]{1,128}", re.ASCII)
_origin, _numbers = token_hex(4), itertools.count(1)


def request_id(given: str) -> str:
    """The id of a request: the one that it came with, if it can be one, else a new one."""
    return given if REQUEST_ID.fullmatch(given) else f"{_origin}-{next(_numbers)}"


def ids(route: str, given: Iterable[str]) -> dict[str, str]:
    """The run and the task among the parameters of a path."""
    named = zip(PARAMETER.findall(route), given, strict=False)
    return {name: value for name, value in named if name in ("execution_id", "task_id")}
