"""Markdown as HTML that needs nothing from outside: raw HTML is text, pictures of other hosts are links."""

import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from agentspan.drawing.markup import CODE, FAINT, LINE, Html, link, pre, tag

if TYPE_CHECKING:
    from markdown_it import MarkdownIt

Rule = Callable[..., str]


def markdown(text: Any) -> Html:
    """The HTML of a text in markdown, styled inline."""
    return Html(_reader().render(str(text)))


@functools.cache
def _reader() -> "MarkdownIt":
    from markdown_it import MarkdownIt

    reader = MarkdownIt("commonmark", {"html": False, "linkify": False}).enable(["table", "strikethrough"])
    for name, css in STYLES.items():
        reader.add_render_rule(name, _styled(css))
    reader.add_render_rule("fence", _fence)
    reader.add_render_rule("code_block", _fence)
    reader.add_render_rule("code_inline", _inline)
    reader.add_render_rule("image", _image)
    return reader


def _styled(css: str) -> Rule:
    def rule(reader: Any, tokens: Sequence[Any], place: int, options: Any, env: Any) -> str:
        token = tokens[place]
        own = str(token.attrs.get("style") or "")
        token.attrSet("style", f"{css};{own}" if own else css)
        if token.type == "link_open":
            token.attrSet("rel", "noopener noreferrer")
            token.attrSet("target", "_blank")
        return str(reader.renderToken(tokens, place, options, env))

    return rule


def _fence(reader: Any, tokens: Sequence[Any], place: int, options: Any, env: Any) -> str:
    return pre(tokens[place].content.rstrip("\n"))


def _inline(reader: Any, tokens: Sequence[Any], place: int, options: Any, env: Any) -> str:
    return tag("code", tokens[place].content, css=CODE)


def _image(reader: Any, tokens: Sequence[Any], place: int, options: Any, env: Any) -> str:
    """A picture that is in the text itself; the reader decides about others."""
    token = tokens[place]
    address, said = str(token.attrs.get("src") or ""), token.content or "picture"
    if address.startswith("data:image/"):
        return tag("img", src=address, alt=said, css="max-width:100%")
    return link(address, said)


LINK = "color:inherit;text-decoration:underline"
CELL = f"border:1px solid {LINE};padding:4px 8px;text-align:left"
STYLES = {
    "paragraph_open": "margin:4px 0 8px",
    "heading_open": "margin:12px 0 4px;line-height:1.3;font-size:1.2em",
    "bullet_list_open": "margin:4px 0 8px;padding-left:20px",
    "ordered_list_open": "margin:4px 0 8px;padding-left:24px",
    "blockquote_open": f"margin:4px 0 8px;padding:0 12px;border-left:3px solid {LINE}",
    "table_open": "border-collapse:collapse;margin:4px 0 8px;font-size:inherit;color:inherit",
    "th_open": f"{CELL};background:{FAINT}",
    "td_open": CELL,
    "hr": f"border:0;border-top:1px solid {LINE};margin:12px 0",
    "link_open": LINK,
}
