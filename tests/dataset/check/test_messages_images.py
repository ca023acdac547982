"""The rules of images, each with a bad line and a near miss that passes."""

import base64

import pytest

from workbench.dataset.check.rules import Rules

SAY = {"role": "assistant", "content": "A chart."}

# The first bytes of real files, as their formats lay them down: colour type at byte 25 of a PNG, the
# number of channels in a JPEG's start-of-frame segment, which stands behind an application segment.
PNG_HEAD = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR\x00\x00\x00\x01\x00\x00\x00\x01\x08"
PNG_RGB, PNG_RGBA, PNG_PALETTE, PNG_GREY = (PNG_HEAD + bytes([colour, 0, 0, 0]) for colour in (2, 6, 3, 0))
JPEG_HEAD = b"\xff\xd8\xff\xe0\x00\x04\x00\x00\xff\xc0\x00\x0b\x08\x00\x01\x00\x01"
JPEG, JPEG_GREY, JPEG_CMYK = (JPEG_HEAD + bytes([channels, 1, 0x11, 0]) for channels in (3, 1, 4))
WEBP = b"RIFF\x10\x00\x00\x00WEBPVP8 "
GIF = b"GIF89a\x01\x00\x01\x00"


def data_url(content: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def image(url: object, **more: object) -> dict[str, object]:
    return {"type": "image_url", "image_url": {"url": url, **more}}


def findings(*parts: object, vision: bool | None = None) -> list[tuple[str, str, str, str, str]]:
    messages = [{"role": "user", "content": [{"type": "text", "text": "What is it?"}, *parts]}, SAY]
    return Rules("sft", vision=vision).findings({"messages": messages})


@pytest.mark.parametrize(
    "part",
    [
        image("https://example.org/chart.png"),
        image("http://example.org/chart.png", detail="low"),
        image(data_url(PNG_RGB), detail="auto"),
        image(data_url(PNG_RGBA)),
        image(data_url(JPEG, "image/jpeg"), detail="high"),
        image(data_url(JPEG, "image/jpg")),
        image(data_url(WEBP, "image/webp")),
        image(data_url(PNG_RGB + b"\x00" * (10 * 1024**2 - len(PNG_RGB)))),
    ],
)
def test_a_right_image_has_no_finding(part):
    assert findings(part, vision=True) == []


PLACE = "messages[0].content[1].image_url"


@pytest.mark.parametrize(
    ("part", "path", "message"),
    [
        ({"type": "image_url"}, PLACE, "this is no image"),
        (
            {"type": "image_url", "image_url": "https://example.org/c.png"},
            PLACE,
            "this is no image",
        ),
        (image(None), f"{PLACE}.url", "null is no address"),
        (image("chart.png"), f"{PLACE}.url", "this is no web address"),
        (image("file:///chart.png"), f"{PLACE}.url", "this is no web address"),
        (image("https://[oops"), f"{PLACE}.url", "this is no web address"),
        (image("https://example.org/c.png", detail="medium"), f"{PLACE}.detail", "the detail is 'medium'"),
        (image("data:image/png,abc"), f"{PLACE}.url", "the data URL is not in base64"),
        (image("data:image/png;base64,a*b="), f"{PLACE}.url", "the base64 text of the image is broken"),
        (image("data:image/png;base64,ä"), f"{PLACE}.url", "the base64 text of the image is broken"),
        (
            image(data_url(GIF, "image/gif")),
            f"{PLACE}.url",
            "'image/gif' is no kind that the service takes",
        ),
        (image(data_url(GIF)), f"{PLACE}.url", "the data URL says image/png, the bytes are image/gif"),
        (
            image(data_url(JPEG)),
            f"{PLACE}.url",
            "the data URL says image/png, the bytes are image/jpeg",
        ),
        (image(data_url(b"not an image")), f"{PLACE}.url", "the bytes are no PNG image"),
        (image(data_url(b"")), f"{PLACE}.url", "the bytes are no PNG image"),
        (image(data_url(PNG_PALETTE)), f"{PLACE}.url", "the colours of the image are a palette"),
        (image(data_url(PNG_GREY)), f"{PLACE}.url", "the colours of the image are greyscale"),
        (
            image(data_url(JPEG_GREY, "image/jpeg")),
            f"{PLACE}.url",
            "the colours of the image are greyscale",
        ),
        (image(data_url(JPEG_CMYK, "image/jpeg")), f"{PLACE}.url", "the colours of the image are CMYK"),
        (
            image(data_url(PNG_RGB + b"\x00" * (10 * 1024**2 - len(PNG_RGB) + 1))),
            f"{PLACE}.url",
            "the image has more than 10 MB",
        ),
    ],
)
def test_a_wrong_image_is_found(part, path, message):
    (finding,) = findings(part)
    assert finding[:4] == ("error", "image", path, message)


def test_an_example_has_at_most_64_images():
    one = image("https://example.org/chart.png")
    assert findings(*[one] * 64) == []
    (finding,) = findings(*[one] * 65)
    assert finding[2:4] == ("messages", "the example has more than 64 images")


def test_a_model_without_vision_takes_no_image():
    (finding,) = findings(image("https://example.org/chart.png"), vision=False)
    assert (finding.level, finding.path) == ("error", "messages")
    assert findings(vision=False) == []


@pytest.mark.parametrize("role", ["system", "assistant"])
def test_only_users_send_images(role):
    ask = {"role": "user", "content": "What is it?"}
    sent = {"role": role, "content": [image("https://example.org/chart.png"), {"type": "text", "text": "It"}]}
    messages = [sent, ask, SAY] if role == "system" else [ask, sent]
    (finding,) = Rules("sft").findings({"messages": messages})
    assert finding.message == "only a user may send images"
    assert finding.path == f"messages[{messages.index(sent)}].content[0]"


def test_the_name_of_other_interfaces_is_understood():
    (finding,) = findings({"type": "input_image", "image_url": "https://example.org/chart.png"})
    assert (finding.rule, finding.path, finding.fix) == (
        "content",
        "messages[0].content[1].type",
        "did you mean 'image_url'",
    )
