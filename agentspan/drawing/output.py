"""What an agent gave back, drawn by what it is: words, data, a table, a picture, an object of the user's."""

import base64
import dataclasses
from collections.abc import Mapping
from typing import Any

from agentspan.drawing.markup import Html, join, muted, pre, tag
from agentspan.drawing.prose import markdown
from agentspan.drawing.value import inline, pairs, table, tree
from agentspan.drawing.words import plural

ROWS = 50
CHARS = 200_000


def output(value: Any) -> Html:
    """The picture of a value; what is no picture, table, data or text is drawn as its text."""
    if value is None:
        return muted("no output")
    if (source := _picture(value)) is not None:
        return tag("img", src=source, alt="picture", css="max-width:100%;max-height:480px")
    if isinstance(value, str):
        return markdown(value[:CHARS])
    if _is_frame(value):
        return _frame(value)
    plain = as_plain(value)
    if plain is not value and isinstance(plain, Mapping):
        return join(tag("div", tag("b", type(value).__name__)), _fields(plain))
    if isinstance(plain, list) and plain and all(_is_flat(each) for each in plain):
        columns = list(dict.fromkeys(key for each in plain for key in each))
        more = muted(f"… {plural(len(plain) - ROWS, 'more row')}") if len(plain) > ROWS else None
        return join(table(columns, plain[:ROWS]), more)
    if isinstance(plain, (Mapping, list, tuple, int, float)):
        return tree(plain, opened=2)
    return pre(str(value)[:CHARS])


def as_plain(value: Any) -> Any:
    """Objects of pydantic, dataclasses and msgspec as dicts, inside of lists too; anything else as it is."""
    if isinstance(value, (list, tuple)):
        found = [as_plain(each) for each in value]
        return found if any(new is not old for new, old in zip(found, value, strict=True)) else value
    if callable(dump := getattr(value, "model_dump", None)) and not isinstance(value, type):
        return dump(mode="json")
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {each.name: as_plain(getattr(value, each.name)) for each in dataclasses.fields(value)}
    if isinstance(names := getattr(type(value), "__struct_fields__", None), tuple):
        return {name: as_plain(getattr(value, name)) for name in names}
    return value


def _fields(plain: Mapping[str, Any]) -> Html:
    return pairs([(name, tree(each) if isinstance(each, (Mapping, list)) and each else inline(each, 2000))
                  for name, each in plain.items()])  # fmt: skip


def _is_flat(value: Any) -> bool:
    return isinstance(value, Mapping) and not any(isinstance(each, (Mapping, list)) for each in value.values())


def _picture(value: Any) -> str | None:
    """The address of a picture that is there in full."""
    if isinstance(value, str):
        return value if value.startswith(PICTURES) and not any(sign in value[:CHARS] for sign in " <>\n") else None
    if callable(draw := getattr(value, "_repr_png_", None)) and not isinstance(value, type):
        value = draw()
    if isinstance(value, (bytes, bytearray)):
        kind = next((kind for sign, kind in SIGNS.items() if bytes(value).startswith(sign)), None)
        return None if kind is None else f"data:image/{kind};base64,{base64.b64encode(value).decode()}"
    return None


def _is_frame(value: Any) -> bool:
    return type(value).__name__ in ("DataFrame", "Series") and hasattr(value, "iloc") and hasattr(value, "index")


def _frame(value: Any) -> Html:
    """The first rows of a table of pandas, drawn as every other table."""
    frame = value.to_frame() if hasattr(value, "to_frame") and type(value).__name__ == "Series" else value
    shown = frame.iloc[:ROWS]
    columns = [{"key": "", "label": ""}, *({"key": str(each), "label": str(each)} for each in shown.columns)]
    rows = [[str(index), *(inline(cell, 200) if isinstance(cell, str) else str(cell) for cell in row)]
            for index, row in zip(shown.index, shown.itertuples(index=False, name=None), strict=True)]  # fmt: skip
    size = muted(f"{plural(len(frame), 'row')}, {plural(len(columns) - 1, 'column')}")
    return join(table(columns, rows), size)


PICTURES = ("data:image/png;", "data:image/jpeg;", "data:image/gif;", "data:image/webp;")
SIGNS = {b"\x89PNG\r\n": "png", b"\xff\xd8\xff": "jpeg", b"GIF8": "gif", b"RIFF": "webp"}
"""How the files of pictures begin."""
