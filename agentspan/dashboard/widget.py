"""Parts of our own: an ES module in the manner of anywidget, shown by Panel.

A module is `export default {render({model, el})}` with `model.get`, `model.set`, `model.save_changes`, `model.on` and
`model.send`, so that the same file also serves as an anywidget in a notebook. `parts/base.js` and `parts/base.css`
stand before each of them.
"""

import json
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import param
from panel.custom import JSComponent

from agentspan.dashboard.may import ALL
from agentspan.drawing import words

PARTS = Path(__file__).parent / "parts"

ADAPTER = """
export function render({model, el, view}) {
  const waiting = []
  const same = {
    get: (name) => model[name],
    set: (name, value) => { waiting.push([name, value]) },
    save_changes: () => { for (const [name, value] of waiting.splice(0)) model[name] = value },
    send: (message) => model.send_msg(message),
    on: (event, callback) => {
      if (event.startsWith("change:")) model.on(event.slice(7), callback)
      else if (event === "msg:custom") model.on("msg:custom", (message) => callback(message.data ?? message))
    },
    off: () => {},
  }
  const end = widget.render({model: same, el})
  if (typeof end === "function") model.on("remove", end)
}
"""


class Widget(JSComponent):
    """A part of a page: subclasses name their module by `module` and their traits by params. A module of several files
    names those that the last one, the part itself, is made of before it, with spaces between. `style` is a file of
    rules that it has beside the shared ones."""

    _esm = ""
    module = ""
    is_whole = False
    """Whether the module stands by itself, without `base.js` and `base.css`, as those do that notebooks show too."""
    inside = ""
    """A module that stands by itself, which this one shows within itself as `INSIDE`."""
    style = ""

    may = param.List(default=ALL, doc="What the person may do, by the names of `may.TAKES`.")

    def __init_subclass__(cls, **kwargs: Any) -> None:
        if source := cls.__dict__.get("module"):
            own = [(PARTS / cls.style).read_text(encoding="utf-8")] if cls.style else []
            cls._esm = whole(source) if cls.is_whole else _inner(cls.inside) + module_of(source)
            cls._stylesheets = [] if cls.is_whole else [stylesheet(), *own]
        super().__init_subclass__(**kwargs)

    def __init__(self, **params: Any) -> None:
        params.setdefault("sizing_mode", "stretch_width")
        self._heard: list[Callable[[dict[str, Any]], Any]] = []
        super().__init__(**params)

    def on_message(self, heard: Callable[[dict[str, Any]], Any]) -> None:
        """Call this with each message that the module sends."""
        self._heard.append(heard)

    def _handle_msg(self, data: Any) -> None:
        for heard in self._heard:
            heard(data)


@lru_cache
def module_of(name: str) -> str:
    """The ES module of a part as Panel wants it; `name` is a file of `parts`, or a path, or several, the part last."""
    files = [(PARTS / each).read_text(encoding="utf-8") for each in name.split()]
    source = "\n".join(files).replace("export default", "const widget =", 1)
    marks = {word: [sign, said] for word, (sign, said, _) in words.STATUS.items()}
    base = (PARTS / "base.js").read_text(encoding="utf-8")
    return "\n".join([f"const MARKS = {json.dumps(marks)}", base, source, ADAPTER])


@lru_cache
def whole(name: str) -> str:
    """The ES module of a file that brings all it needs."""
    return f"const widget = {_closed(name)}\n{ADAPTER}"


def _inner(name: str) -> str:
    return f"const INSIDE = {_closed(name)}\n" if name else ""


def _closed(name: str) -> str:
    """A module as an expression, its names its own."""
    source = (PARTS / name).read_text(encoding="utf-8")
    return f"(() => {{\n{source.replace('export default', 'return', 1)}\n}})()"


@lru_cache
def stylesheet() -> str:
    """The style of all parts, with the colours of `drawing`."""
    tones = [f'[data-status="{word}"] {{ --tone: {colour} }}' for word, (_, _, colour) in words.STATUS.items()]
    tones += [f'[data-kind="{word}"] {{ --tone: {colour} }}' for word, (_, colour) in words.KIND.items()]
    return "\n".join([(PARTS / "base.css").read_text(encoding="utf-8"), *tones])


__all__ = ["Widget", "module_of", "param", "stylesheet"]
