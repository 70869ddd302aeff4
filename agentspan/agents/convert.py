"""Arguments as they come from a model, checked and turned into what the function's hints ask for.

Models write numbers as text, lists as JSON text and the like: what has one clear meaning is accepted, anything else
is an error that says which argument is wrong and what would be right, so that the model can try again.
"""

import base64
import binascii
import collections.abc as abc
import dataclasses
import datetime
import decimal
import enum
import json
import pathlib
import typing
import uuid
from collections.abc import Callable
from typing import Any

from agentspan.agents.exceptions import ToolArgumentError
from agentspan.agents.schema import EMPTY, Parameter, Parameters, fields_of, is_pydantic, is_union, schema_of

Json = dict[str, Any]


class Misfit(ValueError):
    """A value that does not fit; its text is what would have been right."""


def arguments(tool: str, takes: Parameters, given: Json) -> tuple[list[Any], Json]:
    """The positional and the named arguments for a call, or a ToolArgumentError that names every problem."""
    problems, values = [], dict[str, Any]()
    for field in takes.fields:
        if field.name not in given:
            if field.default is EMPTY:
                problems.append(f"argument {field.name!r} is missing ({_expected(field.hint)})")
            continue
        try:
            values[field.name] = convert(given[field.name], field.hint)
        except Misfit as misfit:
            problems.append(f"argument {field.name!r}{misfit}")
    names = [field.name for field in takes.fields]
    extra = {name: value for name, value in given.items() if name not in names}
    if problems:
        if extra and not takes.open:
            problems.append(f"there is no argument {', '.join(map(repr, extra))}")
        raise ToolArgumentError(f"{tool}({', '.join(names)}) was called wrongly: {'; '.join(problems)}")
    if takes.open:
        values.update(extra)
    return _positional(takes.fields, values), values


def _positional(fields: tuple[Parameter, ...], values: Json) -> list[Any]:
    """Take the positional-only arguments out of `values`."""
    taken = []
    for field in (field for field in fields if field.positional_only):
        if field.name not in values:
            break
        taken.append(values.pop(field.name))
    return taken


def convert(value: Any, hint: Any) -> Any:
    """`value` as the type of `hint`, or Misfit."""
    if hint is EMPTY or hint is Any or hint is object:
        return value
    if is_pydantic(hint):
        return _pydantic(value, hint)
    origin, args = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Annotated, typing.Required, typing.NotRequired, typing.ClassVar, typing.Final):
        return convert(value, args[0])
    if is_union(hint):
        return _union(value, hint, args)
    if origin is typing.Literal:
        return _choice(value, list(args), list(args))
    if isinstance(hint, typing.NewType):
        return convert(value, hint.__supertype__)
    if isinstance(hint, typing.TypeVar):
        return convert(value, hint.__bound__) if hint.__bound__ else value
    if hasattr(hint, "__value__"):
        return convert(value, hint.__value__)
    kind = type(None) if hint is None else origin or hint
    return _class(value, kind, args) if isinstance(kind, type) else value


def _class(value: Any, kind: type, args: tuple[Any, ...]) -> Any:
    if kind in PLAIN:
        return PLAIN[kind](value)
    if issubclass(kind, enum.Enum):
        members = list(kind)
        by_name = [member.name for member in members]
        if isinstance(value, str) and value in by_name and value not in [member.value for member in members]:
            return kind[value]
        return _choice(value, [member.value for member in members], members)
    if typing.is_typeddict(kind):
        return _fields(value, kind)
    if dataclasses.is_dataclass(kind):
        return kind(**_fields(value, kind))
    if issubclass(kind, tuple):
        return _tuple(value, kind, args)
    if not args and (base := next((base for base in PLAIN if issubclass(kind, base)), None)):
        return _subclass(PLAIN[base](value), kind)
    if issubclass(kind, abc.Mapping):
        return _mapping(value, args)
    if issubclass(kind, abc.Iterable) and (args or issubclass(kind, (list, abc.Set, abc.Sequence))):
        return _items(value, kind, args)
    return value


def _subclass(value: Any, kind: type) -> Any:
    return value if isinstance(value, kind) else kind(value)


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    if value is None:
        raise Misfit(" must be text, got null")
    if isinstance(value, (dict, list)):
        return json.dumps(value, ensure_ascii=False)
    return str(value).lower() if isinstance(value, bool) else str(value)


def _integer(value: Any) -> int:
    if isinstance(value, str):
        try:
            return int(value.strip())
        except ValueError:
            value = _number(value, "a whole number")
    if isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _misfit("a whole number", value)


def _number(value: Any, what: str = "a number") -> float:
    if isinstance(value, str):
        try:
            return float(value.strip())
        except ValueError:
            raise _misfit(what, value) from None
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    raise _misfit(what, value)


def _truth(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.strip().lower() in TRUTHS:
        return TRUTHS[value.strip().lower()]
    if value in (0, 1) and isinstance(value, (int, float)):
        return bool(value)
    raise _misfit("true or false", value)


def _nothing(value: Any) -> None:
    if value is not None:
        raise _misfit("null", value)


def _object(value: Any) -> Json:
    value = _parsed(value)
    if not isinstance(value, dict):
        raise _misfit("an object", value)
    return value


def _array(value: Any) -> list[Any]:
    value = _parsed(value)
    if not isinstance(value, list):
        raise _misfit("an array", value)
    return value


def _parsed(value: Any) -> Any:
    """JSON that came as text."""
    if isinstance(value, str) and value.strip()[:1] in ("{", "["):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _bytes(value: Any) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except (binascii.Error, TypeError, ValueError):
        raise _misfit("bytes in base64", value) from None


def _parse(what: str, parse: Callable[[str], Any]) -> Callable[[Any], Any]:
    def turn(value: Any) -> Any:
        try:
            return parse(value.strip())
        except (ValueError, AttributeError, ArithmeticError):
            raise _misfit(what, value) from None

    return turn


def _decimal(value: Any) -> decimal.Decimal:
    return decimal.Decimal(_parse("a number", decimal.Decimal)(str(value) if not isinstance(value, bool) else "-"))


def _choice(value: Any, accepted: list[Any], results: list[Any]) -> Any:
    """The result at the place of `value` among the accepted; text is tried as the number or the truth it names."""
    for one, result in zip(accepted, results, strict=True):
        plain = one.value if isinstance(one, enum.Enum) else one
        if plain == value and isinstance(plain, bool) == isinstance(value, bool):
            return result
    for one, result in zip(accepted, results, strict=True):
        plain = one.value if isinstance(one, enum.Enum) else one
        if type(plain) in PLAIN and not isinstance(plain, str) and isinstance(value, str):
            try:
                if PLAIN[type(plain)](value) == plain:
                    return result
            except Misfit:
                continue
    plains = [one.value if isinstance(one, enum.Enum) else one for one in accepted]
    raise _misfit(f"one of {', '.join(map(repr, plains))}", value)


def _union(value: Any, hint: Any, args: tuple[Any, ...]) -> Any:
    """The first member that takes the value as it is, else the first that can be made of it."""
    if value is None and type(None) in args:
        return None
    members = [arg for arg in args if arg is not type(None)]
    problem: Misfit | None = None
    for turn in (_exactly, convert):
        for member in members:
            try:
                return turn(value, member)
            except Misfit as misfit:
                problem = misfit
    if isinstance(value, str) and value.strip().lower() in ("null", "none", "") and type(None) in args:
        return None
    if len(members) == 1 and problem is not None:
        raise problem
    raise _misfit(_expected(hint), value)


def _exactly(value: Any, hint: Any) -> Any:
    """`convert` for a value that has the JSON type of the hint already."""
    kind = typing.get_origin(hint) or hint
    wanted = schema_of(hint)
    types = wanted.get("type")
    if kind is float and isinstance(value, int) and not isinstance(value, bool):
        raise Misfit
    if types is None or not isinstance(value, JSON_TYPES[types]) or isinstance(value, bool) != (types == "boolean"):
        raise Misfit
    return convert(value, hint)


def _tuple(value: Any, kind: type, args: tuple[Any, ...]) -> Any:
    items = _array(value) if not (hasattr(kind, "_fields") and isinstance(value, dict)) else list(value.values())
    if hasattr(kind, "_fields"):
        hints = typing.get_type_hints(kind)
        args = tuple(hints.get(name, Any) for name in kind._fields)
    if not args or (len(args) == 2 and args[1] is Ellipsis):
        return tuple(_each(items, args[0] if args else Any))
    if len(items) != len(args):
        raise Misfit(f" must be an array of {len(args)} items, got {len(items)}")
    values = [_inner(item, hint, f"[{at}]") for at, (item, hint) in enumerate(zip(items, args, strict=True))]
    return kind(*values) if hasattr(kind, "_fields") else tuple(values)


def _mapping(value: Any, args: tuple[Any, ...]) -> Any:
    given = _object(value)
    if len(args) != 2:
        return given
    return {_inner(key, args[0], f".{key}"): _inner(each, args[1], f".{key}") for key, each in given.items()}


def _items(value: Any, kind: type, args: tuple[Any, ...]) -> Any:
    items = _each(_array(value), args[0] if args else Any)
    if issubclass(kind, frozenset):
        return frozenset(items)
    return set(items) if issubclass(kind, abc.Set) else items


def _each(items: list[Any], hint: Any) -> list[Any]:
    return [_inner(item, hint, f"[{at}]") for at, item in enumerate(items)]


def _fields(value: Any, kind: type) -> Json:
    given, values = _object(value), dict[str, Any]()
    for field in fields_of(kind):
        if field.name in given:
            values[field.name] = _inner(given[field.name], field.hint, f".{field.name}")
        elif field.default is EMPTY:
            raise Misfit(f".{field.name} is missing ({_expected(field.hint)})")
    return values


def _inner(value: Any, hint: Any, where: str) -> Any:
    try:
        return convert(value, hint)
    except Misfit as misfit:
        raise Misfit(f"{where}{misfit}") from None


def _pydantic(value: Any, hint: Any) -> Any:
    from pydantic import TypeAdapter, ValidationError

    if isinstance(hint, type):
        value = _parsed(value)
    try:
        return TypeAdapter(hint).validate_python(value)
    except ValidationError as problem:
        told = [".".join(["", *(str(part) for part in each["loc"])]) + f": {each['msg']}" for each in problem.errors()]
        raise Misfit("; ".join(told)) from None


def _misfit(what: str, value: Any) -> Misfit:
    shown = json.dumps(value, default=str, ensure_ascii=False)
    return Misfit(f" must be {what}, got {shown if len(shown) <= 80 else shown[:80] + '...'}")


def _expected(hint: Any) -> str:
    """A hint in the words of JSON."""
    schema = schema_of(hint)
    return _words(schema)


def _words(schema: Json) -> str:
    if "enum" in schema:
        return f"one of {', '.join(map(repr, schema['enum']))}"
    if "anyOf" in schema:
        return " or ".join(_words(each) for each in schema["anyOf"])
    return str(schema.get("format") or schema.get("type") or "any value")


TRUTHS = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}

JSON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "array": (list,),
    "object": (dict,),
    "null": (type(None),),
}

PLAIN: dict[type, Callable[[Any], Any]] = {
    bool: _truth,
    str: _text,
    int: _integer,
    float: _number,
    type(None): _nothing,
    bytes: _bytes,
    datetime.datetime: _parse("a date and time such as 2024-05-01T12:00:00", datetime.datetime.fromisoformat),
    datetime.date: _parse("a date such as 2024-05-01", datetime.date.fromisoformat),
    datetime.time: _parse("a time such as 12:30:00", datetime.time.fromisoformat),
    datetime.timedelta: lambda value: datetime.timedelta(seconds=_number(value, "a number of seconds")),
    uuid.UUID: _parse("a UUID", uuid.UUID),
    decimal.Decimal: _decimal,
    pathlib.Path: lambda value: pathlib.Path(_text(value)),
}
"""How each plain type is made of JSON; the order counts for subclasses."""
