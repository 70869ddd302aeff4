"""Images, audio, video and documents beside a prompt: addresses, `data:` URLs or base64, as parts of a chat message.

Nothing is fetched: an address is passed on as an address, and its type follows from its ending.
"""

import base64
import re
from collections.abc import Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote_to_bytes, urlsplit

from agentspan.errors import BadInput

Json = dict[str, Any]


def check(media: Any) -> None:
    """Raise BadInput, with a sentence, for what `parts` would refuse or a provider could not read."""
    if not isinstance(media, list | tuple) or not all(isinstance(each, str) for each in media):
        raise BadInput("media must be a list of strings: addresses, data: URLs or base64")
    for each in media:
        if each.strip():
            found = _read(each.strip())
            if found.data is not None:
                _decoded(each, found.data)


def parts(media: Sequence[str]) -> list[Json]:
    """The media as parts of a message, in the chat shape that the providers' gateway takes."""
    found = [_read(each.strip()) for each in media if each.strip()]
    return [_part(each, number) for number, each in enumerate(found, 1)]


class _Medium(NamedTuple):
    """Its MIME type, and either an address or its content in base64."""

    mime: str
    address: str = ""
    data: str | None = None


def _read(text: str) -> _Medium:
    if text.startswith("data:"):
        return _from_data_url(text)
    if "://" in text[:16]:
        return _from_address(text)
    if mime := _sniff(text):
        return _Medium(mime, data="".join(text.split()))
    raise BadInput(f"media {_short(text)} is no address, no data: URL and no base64 of a kind that is known; {_KNOWN}")


def _from_address(text: str) -> _Medium:
    parts = urlsplit(text)
    if parts.scheme.lower() not in SCHEMES or not parts.netloc:
        raise BadInput(f"media {_short(text)} is no address of {', '.join(f'{each}://' for each in SCHEMES)}")
    ending = parts.path.rpartition("/")[2].rpartition(".")[2].lower()
    if ending in REFUSED:
        raise BadInput(f"media {_short(text)} is of the type {ending}, which no model takes; {_KNOWN}")
    # Most addresses whose ending says nothing are pictures.
    return _Medium(ENDINGS.get(ending, "image/jpeg"), address=text)


def _from_data_url(text: str) -> _Medium:
    head, comma, data = text.removeprefix("data:").partition(",")
    mime, *options = (each.strip().lower() for each in head.split(";"))
    mime = SYNONYMS.get(mime or "text/plain", mime or "text/plain")
    if not comma or not data:
        raise BadInput(f"media {_short(text)} is an incomplete data: URL; write data:image/png;base64,...")
    if mime not in KINDS:
        raise BadInput(f"media {_short(text)} is of the type {mime}, which no model takes; {_KNOWN}")
    if "base64" not in options:
        data = base64.b64encode(unquote_to_bytes(data)).decode()
    return _Medium(mime, data="".join(data.split()))


def _sniff(text: str) -> str | None:
    """The type of base64 without a name, by how it begins."""
    try:
        start = base64.b64decode("".join(text[:64].split())[:32], validate=True)
    except ValueError:
        return None
    return next((mime for pattern, mime in BEGINNINGS if pattern.match(start)), None)


def _part(found: _Medium, number: int) -> Json:
    kind, is_address = KINDS[found.mime], found.data is None
    url = found.address if is_address else f"data:{found.mime};base64,{found.data}"
    if kind == "image":
        return {"type": "image_url", "image_url": {"url": url}}
    if is_address:
        return {"type": "file", "file": {"file_id": url, "format": found.mime}}
    if kind == "text":
        return {"type": "text", "text": _decoded(url, found.data or "").decode("utf-8", "replace")}
    if kind == "audio":
        return {"type": "input_audio", "input_audio": {"data": found.data, "format": _ENDING[found.mime]}}
    return {"type": "file", "file": {"file_data": url, "filename": f"{kind}-{number}.{_ENDING[found.mime]}"}}


def _decoded(text: str, data: str) -> bytes:
    try:
        return base64.b64decode(data + "=" * (-len(data) % 4), validate=True)
    except ValueError:
        raise BadInput(f"media {_short(text)} has content that is not base64") from None


def _short(text: str) -> str:
    return repr(text if len(text) <= 60 else f"{text[:57]}...")


SCHEMES = ("https", "http", "gs")

ENDINGS = {
    "png": "image/png",
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "gif": "image/gif",
    "webp": "image/webp",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
    "flac": "audio/flac",
    "ogg": "audio/ogg",
    "m4a": "audio/mp4",
    "aac": "audio/aac",
    "mp4": "video/mp4",
    "webm": "video/webm",
    "mov": "video/quicktime",
    "pdf": "application/pdf",
    "txt": "text/plain",
    "md": "text/markdown",
    "csv": "text/csv",
    "html": "text/html",
    "json": "application/json",
}
"""The type of an address by its ending; the first ending of a type is the one that a file gets."""

REFUSED = frozenset(
    (
        *("avi", "bin", "bmp", "css", "doc", "docx", "exe", "gz", "heic", "js", "mkv", "odt", "ppt", "pptx", "py"),
        *("rtf", "svg", "tar", "tif", "tiff", "xls", "xlsx", "xml", "zip"),
    )
)
"""Endings that promise something else."""

KINDS = {
    mime: "text" if mime == "application/json" or mime.startswith("text/") else mime.partition("/")[0]
    for mime in ENDINGS.values()
} | {"application/pdf": "document"}

SYNONYMS = {
    "image/jpg": "image/jpeg",
    "audio/x-wav": "audio/wav",
    "audio/wave": "audio/wav",
    "audio/mp3": "audio/mpeg",
    "audio/x-flac": "audio/flac",
    "audio/m4a": "audio/mp4",
    "audio/x-m4a": "audio/mp4",
    "application/x-pdf": "application/pdf",
}

BEGINNINGS = (
    (re.compile(rb"\x89PNG\r\n\x1a\n"), "image/png"),
    (re.compile(rb"\xff\xd8\xff"), "image/jpeg"),
    (re.compile(rb"GIF8[79]a"), "image/gif"),
    (re.compile(rb"RIFF....WEBP", re.DOTALL), "image/webp"),
    (re.compile(rb"RIFF....WAVE", re.DOTALL), "audio/wav"),
    (re.compile(rb"ID3|\xff[\xfb\xf3\xf2]"), "audio/mpeg"),
    (re.compile(rb"fLaC"), "audio/flac"),
    (re.compile(rb"OggS"), "audio/ogg"),
    (re.compile(rb"%PDF-"), "application/pdf"),
)

_ENDING = {mime: ending for ending, mime in reversed(ENDINGS.items())}
_KNOWN = f"known are {', '.join(ENDINGS)}"
