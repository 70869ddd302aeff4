"""A tool's return value as JSON, or a clear failure."""

import base64
import dataclasses
import datetime
import decimal
import enum
import inspect
import math
import pathlib
import uuid
from collections.abc import Mapping
from typing import Any

from agentspan.agents.exceptions import ToolSerializationError

Json = dict[str, Any]

DEPTH_LIMIT = 100


def output_of(tool: str, value: Any) -> Json:
    """The task's outputData: an object as it is, any other JSON value under `result`."""
    plain = plain_of(value, f"the result of {tool}")
    return plain if isinstance(plain, dict) else {"result": plain}


def plain_of(value: Any, where: str, depth: int = 0) -> Any:
    """`value` in JSON's types. `where` names it in the error."""
    if value is None or (isinstance(value, (bool, str)) and type(value) in (bool, str)):
        return value
    if depth > DEPTH_LIMIT:
        raise ToolSerializationError(f"{where} is nested too deeply or contains itself")
    if isinstance(value, enum.Enum):
        return plain_of(value.value, where, depth + 1)
    if isinstance(value, str):
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return _float(value, where)
    if isinstance(value, Mapping):
        return {_key(key, where): plain_of(each, f"{where}.{key}", depth + 1) for key, each in value.items()}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return plain_of(value._asdict(), where, depth + 1)
    if isinstance(value, (list, tuple)):
        return [plain_of(each, f"{where}[{at}]", depth + 1) for at, each in enumerate(value)]
    if isinstance(value, (set, frozenset)):
        items = [plain_of(each, where, depth + 1) for each in value]
        return sorted(items, key=lambda each: (type(each).__name__, str(each)))
    return _object(value, where, depth)


def _object(value: Any, where: str, depth: int) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        return plain_of(fields, where, depth + 1)
    if isinstance(value, datetime.timedelta):
        return value.total_seconds()
    if isinstance(value, (datetime.date, datetime.time)):
        return value.isoformat()
    if isinstance(value, decimal.Decimal):
        return int(value) if value.is_finite() and value == int(value) else _float(float(value), where)
    if isinstance(value, (uuid.UUID, pathlib.PurePath)):
        return str(value)
    if isinstance(value, BaseException):
        return f"{type(value).__name__}: {value}"
    if isinstance(value, (bytes, bytearray, memoryview)):
        return _bytes(bytes(value))
    for method, options in OWN_WORDS.items():
        if callable(tell := getattr(value, method, None)) and not isinstance(value, type):
            return plain_of(tell(**options), where, depth + 1)
    if inspect.isgenerator(value) or inspect.isasyncgen(value) or inspect.iscoroutine(value):
        raise ToolSerializationError(f"{where} is a {type(value).__name__}; return its items as a list instead")
    raise ToolSerializationError(f"{where} is of type {type(value).__name__}, which is not JSON; return a dict or text")


def _float(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise ToolSerializationError(f"{where} is {value}, which JSON does not have; return null or text instead")
    return float(value)


def _bytes(value: bytes) -> str:
    """Text if it is text, else base64."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return base64.b64encode(value).decode()


def _key(key: Any, where: str) -> str:
    key = key.value if isinstance(key, enum.Enum) else key
    if isinstance(key, bool) or key is None:
        return {True: "true", False: "false", None: "null"}[key]
    if isinstance(key, (str, int, float, datetime.date, uuid.UUID, pathlib.PurePath)):
        return key.isoformat() if isinstance(key, datetime.date) else str(key)
    raise ToolSerializationError(f"{where} has a key of type {type(key).__name__}; JSON's keys are text")


OWN_WORDS: dict[str, Json] = {
    "model_dump": {"mode": "json"},
    "tolist": {},
    "to_dict": {},
}
"""How pydantic's models, numpy's arrays and numbers, and data frames tell what they hold."""
