"""JSON Schema of a function's parameters, from its type hints, defaults and docstring.

`parameters_of` reads a function once; `schema_of` is the table of types. Types that only pydantic understands (its
models, constrained `Annotated`) are left to pydantic, which is imported then and not before. A type that nobody
understands becomes `{}`, which accepts everything.
"""

import collections.abc as abc
import dataclasses
import datetime
import decimal
import enum
import inspect
import pathlib
import types
import typing
import uuid
from collections.abc import Callable
from typing import Any

from agentspan.agents.docstring import parameter_descriptions

Json = dict[str, Any]
EMPTY: Any = inspect.Parameter.empty


@dataclasses.dataclass(frozen=True)
class Parameter:
    """One parameter that the model fills: its hint (EMPTY for none), its default (EMPTY if required), its kind."""

    name: str
    hint: Any
    default: Any
    positional_only: bool = False


@dataclasses.dataclass(frozen=True)
class Parameters:
    """What a function takes: what the model fills, where a ToolContext goes, and whether `**kwargs` takes the rest."""

    fields: tuple[Parameter, ...]
    context: str | None
    open: bool
    returns: Any

    def schema(self, docstring: str | None) -> Json:
        """The JSON Schema of the arguments object."""
        build = Builder()
        described = parameter_descriptions(docstring)
        properties = {field.name: _property(build, field, described.get(field.name)) for field in self.fields}
        required = [field.name for field in self.fields if field.default is EMPTY]
        schema: Json = {"type": "object", "properties": properties}
        if required:
            schema["required"] = required
        if self.open:
            schema["additionalProperties"] = True
        return build.finish(schema)


def parameters_of(function: Callable[..., Any], scope: dict[str, Any] | None = None) -> Parameters:
    """Read a function's signature; `scope` holds names that its hints may use besides its own module's.

    A parameter is a ToolContext if it is annotated so, or is called `context` and not annotated at all.
    """
    hints = hints_of(function, scope)
    fields, context, takes_rest = [], None, False
    for place, parameter in enumerate(inspect.signature(function).parameters.values()):
        hint = hints.get(parameter.name, EMPTY)
        if parameter.kind is parameter.VAR_KEYWORD:
            takes_rest = True
        elif parameter.kind is parameter.VAR_POSITIONAL or _is_receiver(place, parameter, function):
            continue
        elif is_context(hint) or (parameter.name == "context" and hint is EMPTY):
            context = parameter.name
        else:
            only = parameter.kind is parameter.POSITIONAL_ONLY
            fields.append(Parameter(parameter.name, hint, parameter.default, only))
    return Parameters(tuple(fields), context, takes_rest, hints.get("return", EMPTY))


def hints_of(function: Callable[..., Any], scope: dict[str, Any] | None = None) -> dict[str, Any]:
    """The hints with their strings resolved; a name that cannot be resolved leaves its parameter without a hint."""
    inner: Any = inspect.unwrap(function)
    inner = getattr(inner, "__func__", inner)
    closure = inspect.getclosurevars(inner).nonlocals if inspect.isfunction(inner) else {}
    local = {**(scope or {}), **closure}
    try:
        return typing.get_type_hints(inner, localns=local, include_extras=True)
    except Exception:  # a hint may be any expression, and may fail in any way
        pass
    hints = {}
    for name, raw in getattr(inner, "__annotations__", {}).items():
        try:
            hints[name] = eval(raw, inner.__globals__, local) if isinstance(raw, str) else raw
        except Exception:  # see above
            continue
    return hints


def is_context(hint: Any) -> bool:
    """Is this `ToolContext` or `ToolContext | None`?"""
    from agentspan.agents.context import ToolContext

    return hint is ToolContext or (is_union(hint) and ToolContext in typing.get_args(hint))


def is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def is_pydantic(hint: Any) -> bool:
    """Does only pydantic know what this type's JSON looks like?"""
    if typing.get_origin(hint) is typing.Annotated:
        return any(type(each).__module__.split(".")[0] in ("pydantic", "annotated_types") for each in hint.__metadata__)
    return isinstance(hint, type) and "__pydantic_core_schema__" in vars(hint)


def schema_of(hint: Any) -> Json:
    """The JSON Schema of one type."""
    build = Builder()
    return build.finish(build.of(hint))


class Builder:
    """Builds one schema; definitions that are used by reference are gathered for its root."""

    def __init__(self) -> None:
        self.definitions: dict[str, Json] = {}
        self._open: list[type] = []
        self._recursive: set[type] = set()

    def finish(self, schema: Json) -> Json:
        return {**schema, "$defs": self.definitions} if self.definitions else schema

    def of(self, hint: Any) -> Json:
        """The schema of a type, nested in the one that is being built."""
        if hint is EMPTY or hint is Any or hint is object:
            return {}
        if is_pydantic(hint):
            return self._pydantic(hint)
        origin, args = typing.get_origin(hint), typing.get_args(hint)
        if origin is typing.Annotated:
            return {**self.of(args[0]), **_annotation(hint.__metadata__)}
        if is_union(hint):
            return self._union(args)
        if origin is typing.Literal:
            return _choice(list(args))
        if origin in (typing.Required, typing.NotRequired, typing.ClassVar, typing.Final):
            return self.of(args[0])
        if isinstance(hint, typing.NewType):
            return self.of(hint.__supertype__)
        if isinstance(hint, typing.TypeVar):
            return self.of(hint.__bound__) if hint.__bound__ else {}
        if hasattr(hint, "__value__"):  # a `type` statement of Python 3.12
            return self.of(hint.__value__)
        kind = origin or hint
        if isinstance(kind, type):
            return self._class(kind, args)
        return {"type": "null"} if hint is None else {}

    def _class(self, kind: type, args: tuple[Any, ...]) -> Json:
        if kind in SIMPLE and not args:
            return dict(SIMPLE[kind])
        if issubclass(kind, enum.Enum):
            return _choice([member.value for member in kind])
        if dataclasses.is_dataclass(kind) or typing.is_typeddict(kind):
            return self._object(kind)
        if issubclass(kind, tuple):
            return self._tuple(kind, args)
        if not args and (base := next((base for base in SIMPLE if issubclass(kind, base)), None)):
            return dict(SIMPLE[base])
        if issubclass(kind, abc.Set):
            return {"type": "array", "items": self.of(args[0]) if args else {}, "uniqueItems": True}
        if issubclass(kind, abc.Mapping):
            return {"type": "object", "additionalProperties": self.of(args[1]) if len(args) == 2 else {}}
        if issubclass(kind, abc.Iterable) and (args or issubclass(kind, (list, abc.Sequence))):
            return {"type": "array", "items": self.of(args[0]) if args else {}}
        return {}

    def _union(self, args: tuple[Any, ...]) -> Json:
        choices: list[Json] = []
        for each in (self.of(arg) for arg in args):
            if each == {}:
                return {}
            if each not in choices:
                choices.append(each)
        return choices[0] if len(choices) == 1 else {"anyOf": choices}

    def _tuple(self, kind: type, args: tuple[Any, ...]) -> Json:
        if hasattr(kind, "_fields"):
            hints = typing.get_type_hints(kind)
            args = tuple(hints.get(name, Any) for name in kind._fields)
        if not args:
            return {"type": "array", "items": {}}
        if len(args) == 2 and args[1] is Ellipsis:
            return {"type": "array", "items": self.of(args[0])}
        items = [] if args == ((),) else [self.of(each) for each in args]
        return {"type": "array", "prefixItems": items, "minItems": len(items), "maxItems": len(items)}

    def _object(self, kind: type) -> Json:
        """A dataclass or TypedDict; one that contains itself becomes a definition."""
        if kind in self._open:
            self._recursive.add(kind)
            return {"$ref": f"#/$defs/{kind.__name__}"}
        self._open.append(kind)
        described = parameter_descriptions(kind.__doc__)
        properties = {field.name: _property(self, field, described.get(field.name)) for field in fields_of(kind)}
        self._open.pop()
        schema: Json = {"type": "object", "properties": properties}
        if required := [field.name for field in fields_of(kind) if field.default is EMPTY]:
            schema["required"] = required
        if (text := inspect.getdoc(kind)) and not text.startswith((f"{kind.__name__}(", "dict(")):
            schema = {"description": text.splitlines()[0], **schema}
        if kind in self._recursive:
            self.definitions[kind.__name__] = schema
            return {"$ref": f"#/$defs/{kind.__name__}"}
        return schema

    def _pydantic(self, hint: Any) -> Json:
        from pydantic import TypeAdapter

        schema = TypeAdapter(hint).json_schema()
        renamed: dict[str, str] = {}
        definitions: dict[str, Json] = schema.pop("$defs", {})
        for name, definition in definitions.items():
            new, count = name, 2
            while self.definitions.get(new, definition) != definition:
                new, count = f"{name}{count}", count + 1
            renamed[f"#/$defs/{name}"] = f"#/$defs/{new}"
            self.definitions[new] = definition
        for new in {ref.rpartition("/")[2] for ref in renamed.values()}:
            self.definitions[new] = _with_references(self.definitions[new], renamed)
        return _with_references(schema, renamed)  # type: ignore[no-any-return]


def fields_of(kind: type) -> list[Parameter]:
    """The fields of a dataclass or TypedDict that are given from outside; a default of `...` stands for any."""
    try:
        hints = typing.get_type_hints(kind, include_extras=True)
    except Exception:  # as in `hints_of`
        hints = {}
    if typing.is_typeddict(kind):
        needed: frozenset[str] = vars(kind)["__required_keys__"]
        return [Parameter(name, hint, EMPTY if name in needed else ...) for name, hint in hints.items()]
    return [
        Parameter(field.name, hints.get(field.name, Any), _default(field))
        for field in dataclasses.fields(kind)
        if field.init
    ]


def _default(field: "dataclasses.Field[Any]") -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return EMPTY if field.default_factory is dataclasses.MISSING else ...


def _property(build: Builder, field: Parameter, description: str | None) -> Json:
    schema = build.of(field.hint)
    if description and "description" not in schema:
        schema = {**schema, "description": description}
    default = _plain(field.default)
    return schema if default is EMPTY or default is None else {**schema, "default": default}


def _plain(default: Any) -> Any:
    """A default as JSON, or EMPTY if it has no JSON that is worth showing."""
    if isinstance(default, enum.Enum):
        return _plain(default.value)
    if isinstance(default, (str, int, float, bool)):
        return default
    if isinstance(default, (list, tuple)) and all(_plain(each) is not EMPTY for each in default):
        return [_plain(each) for each in default]
    return default if default == {} and isinstance(default, dict) else EMPTY


def _annotation(metadata: tuple[Any, ...]) -> Json:
    for each in metadata:
        text = (
            each
            if isinstance(each, str)
            else getattr(each, "description", None) or getattr(each, "documentation", None)
        )
        if isinstance(text, str):
            return {"description": text}
    return {}


def _choice(values: list[Any]) -> Json:
    values = [value.value if isinstance(value, enum.Enum) else value for value in values]
    kinds = {NAMES.get(type(value)) for value in values}
    kind = kinds.pop() if len(kinds) == 1 else None
    return {"type": kind, "enum": values} if kind else {"enum": values}


def _is_receiver(place: int, parameter: inspect.Parameter, function: Callable[..., Any]) -> bool:
    """Is this the `self` or `cls` of a function in the body of a class?"""
    inner = inspect.unwrap(function)
    outer = getattr(inner, "__qualname__", "").rpartition(".")[0]
    in_class = bool(outer) and not outer.endswith("<locals>") and not inspect.ismethod(inner)
    return place == 0 and in_class and parameter.name in ("self", "cls")


def _with_references(value: Any, renamed: dict[str, str]) -> Any:
    if isinstance(value, dict):
        return {
            key: renamed.get(each, each) if key == "$ref" and isinstance(each, str) else _with_references(each, renamed)
            for key, each in value.items()
        }
    return [_with_references(each, renamed) for each in value] if isinstance(value, list) else value


SIMPLE: dict[type, Json] = {
    bool: {"type": "boolean"},
    str: {"type": "string"},
    int: {"type": "integer"},
    float: {"type": "number"},
    type(None): {"type": "null"},
    dict: {"type": "object"},
    list: {"type": "array", "items": {}},
    bytes: {"type": "string", "contentEncoding": "base64"},
    datetime.datetime: {"type": "string", "format": "date-time"},
    datetime.date: {"type": "string", "format": "date"},
    datetime.time: {"type": "string", "format": "time"},
    datetime.timedelta: {"type": "number", "description": "seconds"},
    uuid.UUID: {"type": "string", "format": "uuid"},
    decimal.Decimal: {"type": "number"},
    pathlib.PurePath: {"type": "string"},
}
"""The order counts for subclasses: a bool is an int, a datetime is a date."""

NAMES: dict[type, str] = {str: "string", bool: "boolean", int: "integer", float: "number", type(None): "null"}
