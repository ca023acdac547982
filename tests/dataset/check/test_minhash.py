import re
import unicodedata

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.dataset.check.minhash import across, hashed, jaccard, normalised, pieces, together, within

SENTENCE = (
    "the old harbour lies behind two hills and a row of white houses that nobody has painted since spring"
)


def equal(one: str, other: str) -> bool:
    first, second = hashed([one, other]).exact
    return bool(first == second)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("Where is it?", "where is it"),
        ("Where  is\n it", "Where is it"),
        ("“Größe” — ja!", '"GRÖSSE" ja'),
        ("ＡＢＣ １２３", "abc 123"),
        ("a, b (c)", "a b c"),
        ("Wohin?\u00a0Dorthin.", "wohin dorthin"),
    ],
)
def test_case_spaces_and_marks_of_sentences_do_not_count(one, other):
    assert normalised(one) == normalised(other)
    assert equal(one, other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("price < 80", "price > 80"),
        ("a = b", "a != b"),
        ("2.5", "25"),
        ("-5", "5"),
        ("a b", "ab"),
        ("b a", "a b"),
        ("a a", "a"),
        ("?", "!"),
        ("", "?"),
    ],
)
def test_what_makes_another_text_counts(one, other):
    assert not equal(one, other)


def test_a_text_of_spaces_has_no_hash():
    assert hashed(["", " \n\t"]).exact.tolist() == [0, 0]


def test_no_texts_have_no_hashes():
    assert hashed([]).exact.tolist() == []


def test_letters_are_words_where_nothing_stands_between_words():
    assert hashed(["我们今天，去学校", "สวัสดี", "Hallo Welt", "去 Berlin"]).words.tolist() == [7, 6, 2, 2]


def test_jaccard_is_the_share_of_three_word_pieces():
    assert jaccard(pieces("a b c d e"), pieces("a b c d f")) == 2 / 4
    assert jaccard(pieces("a b"), pieces("A b!")) == 1
    assert jaccard(pieces("a b"), pieces("a c")) == 0
    assert jaccard(pieces(""), pieces("")) == 0


def test_a_long_text_differs_by_its_last_letter():
    assert not equal("word " * 60_000 + "a", "word " * 60_000 + "b")
    assert equal("word " * 60_000 + "a", "Word, " * 60_000 + "A")


def test_hashes_do_not_depend_on_neighbours():
    texts = [SENTENCE, "", "我们", "x", SENTENCE * 300]
    alone = [hashed([text]) for text in texts]
    all_of_them = hashed(texts * 20)
    assert all_of_them.exact.tolist() == [int(one.exact[0]) for one in alone] * 20
    assert (all_of_them.lowest == np.concatenate([one.lowest for one in alone] * 20)).all()


def test_hashes_are_the_same_in_every_process():
    # Pinned: fingerprints from several machines are put together.
    assert hashed(["Where is it?", "我们"]).exact.tolist() == [11481014178357373903, 2827248727760734322]


def test_the_order_of_hashes_counts():
    one, other = np.array([1], np.uint64), np.array([2], np.uint64)
    assert together(one, other) != together(other, one)


@given(st.text() | st.text("ab ,.我ก\u00e9\u00b4\ud800\u2028"))
def test_words_are_those_of_the_normalised_text(text):
    words = re.sub(
        "([\u0e00-\u0eff\u1000-\u10bf\u1780-\u17ff\u3000-\u9fff])", r" \1 ", normalised(text)
    ).split()
    assert hashed([text]).words.tolist() == [len(words)]
    assert len(pieces(text)) == len(
        {tuple(words[at : at + 3]) for at in range(max(1, len(words) - 2))} - {()}
    )


@given(st.lists(st.sampled_from("abcdef"), min_size=1), st.lists(st.sampled_from("abcdef"), min_size=1))
def test_texts_are_equal_exactly_when_their_words_are(one, other):
    assert equal(" ".join(one), ", ".join(other).upper()) == (one == other)


@given(st.text())
def test_normal_forms_are_equal(text):
    assert equal(unicodedata.normalize("NFC", text), unicodedata.normalize("NFD", text))


def test_a_signature_estimates_jaccard():
    words = [f"word{n}" for n in range(400)]
    one, other = " ".join(words), " ".join(words[:300] + [f"other{n}" for n in range(100)])
    first, second = hashed([one, other]).lowest
    assert jaccard(pieces(one), pieces(other)) == 298 / 498
    assert abs(np.mean(first == second) - 298 / 498) < 0.15  # three standard errors of 96 slots


def signatures(*texts: str) -> np.ndarray:
    return hashed(texts).lowest.astype(np.uint8)


def test_candidates_are_close_and_earlier():
    marks = signatures(SENTENCE, "something else " * 20, SENTENCE.replace("spring", "autumn"))
    assert [(row, others.tolist()) for row, others in within(marks, np.arange(3), 0.7)] == [(2, [0])]


def test_rows_that_take_no_part_are_no_candidates():
    marks = signatures(SENTENCE, SENTENCE, SENTENCE)
    assert [(row, others.tolist()) for row, others in within(marks, np.array([0, 2]), 0.7)] == [(2, [0])]
    marks[0] = 0
    assert list(within(marks[:1], np.arange(1), 0.7)) == []


def test_candidates_across_two_files():
    here = signatures("something else " * 20, SENTENCE.replace("spring", "autumn"))
    there = signatures("a third thing " * 20, SENTENCE)
    found = across(here, np.arange(2), there, np.arange(2), 0.7)
    assert [(row, others.tolist()) for row, others in found] == [(1, [1])]
    assert list(across(here, np.arange(2), there[:0], np.arange(0), 0.7)) == []
