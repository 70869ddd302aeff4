"""Media beside a prompt: what becomes of an address, a data: URL and base64, and what is refused."""

import base64
from typing import Any

import pytest

from agentspan.errors import BadInput
from agentspan.spec.media import check, parts


def coded(content: bytes) -> str:
    return base64.b64encode(content).decode()


PNG = b"\x89PNG\r\n\x1a\n" + bytes(40)
WAV = b"RIFF\x24\x00\x00\x00WAVEfmt " + bytes(30)
PDF = b"%PDF-1.7\n" + bytes(40)


@pytest.mark.parametrize(
    "address",
    [
        "https://example.com/cat.png",
        "http://example.com/a/cat.JPG?size=3#top",
        "https://example.com/photos/200",
        "https://cdn.example.com/cat.v2",
        "gs://bucket/cat.webp",
    ],
)
def test_the_address_of_an_image_is_passed_on(address: str) -> None:
    check([address])
    assert parts([address]) == [{"type": "image_url", "image_url": {"url": address}}]


@pytest.mark.parametrize(
    ("address", "mime"),
    [
        ("https://example.com/a.pdf", "application/pdf"),
        ("https://example.com/a.mp3", "audio/mpeg"),
        ("https://example.com/a.mp4", "video/mp4"),
        ("https://example.com/a.txt", "text/plain"),
    ],
)
def test_the_address_of_anything_else_is_passed_on_with_its_type(address: str, mime: str) -> None:
    assert parts([address]) == [{"type": "file", "file": {"file_id": address, "format": mime}}]


@pytest.mark.parametrize(
    ("given", "part"),
    [
        (coded(PNG), {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{coded(PNG)}"}}),
        (coded(WAV), {"type": "input_audio", "input_audio": {"data": coded(WAV), "format": "wav"}}),
        (
            coded(PDF),
            {
                "type": "file",
                "file": {"file_data": f"data:application/pdf;base64,{coded(PDF)}", "filename": "document-1.pdf"},
            },
        ),
    ],
)
def test_base64_is_known_by_how_it_begins(given: str, part: dict[str, Any]) -> None:
    broken = "\n".join(given[at : at + 20] for at in range(0, len(given), 20))
    for each in (given, f"  {given}\n", broken):
        check([each])
        assert parts([each]) == [part]


def test_a_data_url_says_its_type() -> None:
    [image] = parts([f"data:image/jpg;base64,{coded(b'anything')}"])
    assert image["image_url"]["url"] == f"data:image/jpeg;base64,{coded(b'anything')}"
    [audio] = parts([f"data:audio/mp3;base64,{coded(b'anything')}"])
    assert audio["input_audio"] == {"data": coded(b"anything"), "format": "mp3"}


@pytest.mark.parametrize(
    "given",
    [f"data:text/plain;charset=utf-8;base64,{coded('Grüße'.encode())}", "data:text/markdown,Gr%C3%BC%C3%9Fe"],
)
def test_text_is_text_for_every_model(given: str) -> None:
    assert parts([given]) == [{"type": "text", "text": "Grüße"}]


def test_several_media_keep_their_order_and_blank_ones_are_none() -> None:
    found = parts(["https://a.example/1.png", " ", "", "https://a.example/2.pdf"])
    assert [each["type"] for each in found] == ["image_url", "file"]
    assert parts([]) == []


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ("photo.png", "no address, no data: URL and no base64"),
        ("/home/ada/photo.png", "no address"),
        (coded(b"MZ nothing that is known"), "known are png, jpg"),
        ("ftp://example.com/a.png", "is no address of https://"),
        ("https:///a.png", "is no address of"),
        ("https://example.com/a.zip", "the type zip, which no model takes"),
        ("https://example.com/a.docx", "which no model takes; known are png"),
        ("data:application/zip;base64,AAAA", "application/zip, which no model takes"),
        ("data:image/png;base64,", "incomplete data: URL"),
        ("data:image/png;base64,***", "not base64"),
        (f"{coded(PNG)}!", "not base64"),
    ],
)
def test_what_no_model_takes_is_refused_with_a_sentence(given: str, says: str) -> None:
    with pytest.raises(BadInput, match=says) as caught:
        check([given])
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("given", ["https://example.com/a.png", [1], [None], {"url": "x"}, None])
def test_media_are_a_list_of_strings(given: Any) -> None:
    with pytest.raises(BadInput, match="list of strings"):
        check(given)
