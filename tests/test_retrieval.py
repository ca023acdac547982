"""What is looked up for a question: examples like it, passages of documents, the right passage."""

import json
from pathlib import Path

import pytest

from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError
from workbench.evaluation.prompts import PASSAGE, Documents, Gold, Passage, nearest, read_documents


def asked(question: str, answer: str = "So.", **metadata: object) -> Example:
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(turns, f"faq.csv:{question}", metadata=metadata)


FAQ = Dataset(
    "faq.csv",
    (
        asked("How do I return a parcel?"),
        asked("Where is my parcel from Köln?"),
        asked("How do I pay by card?"),
        asked("Which card do you take?"),
    ),
)


def questions(found: tuple[Example, ...]) -> list[str]:
    return [example.question for example in found]


def test_the_examples_most_like_the_question_are_found_the_most_alike_last():
    found = nearest(FAQ, 2).shots(asked("Can I pay with this card?"))
    assert questions(found) == ["Which card do you take?", "How do I pay by card?"]


def test_case_and_accents_of_other_languages_make_words_too():
    assert questions(nearest(FAQ, 1).shots(asked("KÖLN?"))) == ["Where is my parcel from Köln?"]


def test_the_very_question_is_never_shown_with_its_answer():
    found = nearest(FAQ, 4).shots(asked("  how do I return a  PARCEL? "))
    assert sorted(questions(found)) == sorted(questions(FAQ.examples[1:]))


def test_no_example_whose_question_is_tested_is_shown_for_any_question():
    test = Dataset("test.csv", (asked("WHICH card do you take?"), asked("Card?")))
    assert questions(nearest(FAQ, 4, test=test).shots(test[1])) == ["How do I pay by card?"]


def test_a_question_without_a_known_word_finds_nothing():
    assert nearest(FAQ, 3).shots(asked("Warum?")) == ()
    assert nearest(FAQ, 3).shots(asked("")) == ()


def test_of_equally_good_ones_the_first_is_taken_every_time():
    same = Dataset("same.csv", tuple(asked(f"{word} parcel") for word in ("red", "blue", "green")))
    assert [questions(nearest(same, 2).shots(asked("my parcel"))) for _ in range(3)] == 3 * [
        ["blue parcel", "red parcel"]
    ]


def test_examples_without_an_answer_are_none_to_show():
    prompts = Dataset("rft.jsonl", (Example(({"role": "user", "content": "Why?"},), "rft.jsonl:1"),))
    with pytest.raises(DataError, match=r"rft.jsonl has no example to show"):
        nearest(prompts, 1)
    with pytest.raises(DataError, match=r"faq.csv has no example to show: none with an answer whose"):
        nearest(FAQ, 1, test=FAQ)
    with pytest.raises(DataError, match="0 examples are none to look up; ask for 1 or more"):
        nearest(FAQ, 0)


def test_passages_are_found_by_the_words_they_share_with_the_question():
    shop = Documents((Passage("Parcels arrive by noon.", "a"), Passage("We take any card.", "b")), k=2)
    assert shop.texts(asked("Which card?")) == ("We take any card.",)
    assert shop.texts(asked("What?")) == ()


def test_documents_without_any_word_find_nothing():
    assert Documents((Passage("…", "a"),)).texts(asked("Which card?")) == ()


def test_the_right_passage_comes_from_a_column_of_the_test():
    assert Gold("passage").texts(asked("?", passage="By noon.")) == ("By noon.",)
    assert Gold("passage").texts(asked("?", passage=["By", "noon."])) == ("By", "noon.")


def test_a_missing_or_empty_passage_is_told_with_its_row():
    with pytest.raises(DataError, match=r"faq.csv:\? has no column 'passage'; it has text, kind"):
        Gold("passage").texts(asked("?", text="By noon.", kind="x"))
    for wrong in ("", " ", 7, None, [], ["", "noon"]):
        with pytest.raises(DataError, match=r"faq.csv:\?: passage is .*; it should be the passage with"):
            Gold("passage").texts(asked("?", passage=wrong))


def test_a_folder_of_texts_is_read_at_any_depth_and_in_order(tmp_path: Path):
    (tmp_path / "b.md").write_text("Second.")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "first.TXT").write_bytes("Grüße.".encode("utf-16"))
    (tmp_path / "a" / "empty.txt").write_text(" \n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG")
    assert read_documents(tmp_path).passages == (
        Passage("Grüße.", "a/first.TXT:1"),
        Passage("Second.", "b.md:1"),
    )


def test_a_long_text_is_cut_at_blank_lines_and_every_passage_knows_its_line(tmp_path: Path):
    (tmp_path / "long.md").write_text("\r\n\r\n".join(("a" * 700, "b" * 400, "c" * 400)), newline="")
    found = read_documents(tmp_path / "long.md").passages
    assert [(each.text[0], len(each.text), each.origin) for each in found] == [
        ("a", 700 + 2 + 400, "long.md:1"),
        ("c", 400, "long.md:5"),
    ]


def test_a_text_without_blank_lines_is_cut_between_words_and_loses_none(tmp_path: Path):
    words = [f"word{number}" for number in range(1_000)]
    (tmp_path / "wall.txt").write_text(" ".join(words))
    found = [each.text for each in read_documents(tmp_path / "wall.txt").passages]
    assert max(map(len, found)) <= PASSAGE
    assert " ".join(found).split() == words


def test_one_endless_word_is_cut_all_the_same(tmp_path: Path):
    (tmp_path / "wall.txt").write_text("\n\n" + "x" * 3_000)
    assert [len(each.text) for each in read_documents(tmp_path / "wall.txt").passages] == [1_198, 1_200, 602]


def test_a_row_of_a_table_is_a_passage(tmp_path: Path):
    (tmp_path / "kb.csv").write_text('id;content\n1;"By noon;\nor later."\n2;Any card.\n')
    assert read_documents(tmp_path / "kb.csv").passages == (
        Passage("By noon;\nor later.", "kb.csv:2"),
        Passage("Any card.", "kb.csv:4"),
    )
    (tmp_path / "kb.jsonl").write_text(json.dumps({"text": "title", "note": "Any card."}) + "\n\n")
    assert read_documents(tmp_path / "kb.jsonl", column="note").passages == (
        Passage("Any card.", "kb.jsonl:1"),
    )


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("kb.csv", "id,note\n1,x\n", r"kb.csv line 2 has no text or content or .*; it has id, note\."),
        ("kb.csv", "id,text\n1,\n", r"kb.csv line 2: text is ''; it should be a text\."),
        ("kb.csv", "id,text\n", r"kb.csv holds no text; documents are"),
        ("kb.jsonl", '["text"]\n', r"kb.jsonl line 1 is no object"),
        ("kb.jsonl", '{"text": 7}\n', r"kb.jsonl line 1: text is 7; it should be a text\."),
        ("kb.jsonl", '{"text": \n', r"kb.jsonl line 1: not JSON"),
        ("kb.txt", "\n", r"kb.txt holds no text"),
        ("kb.pdf", "%PDF-", r"kb.pdf is neither a folder nor a file that can be read \(.md, .txt, .csv"),
    ],
)
def test_what_holds_no_documents_is_refused_by_name(tmp_path: Path, name: str, content: str, told: str):
    (tmp_path / name).write_text(content)
    with pytest.raises(DataError, match=told):
        read_documents(tmp_path / name)


def test_a_missing_file_an_empty_folder_and_no_passages_are_told(tmp_path: Path):
    with pytest.raises(DataError, match=r"none.txt does not exist"):
        read_documents(tmp_path / "none.txt")
    with pytest.raises(DataError, match=r"holds no text; documents are .md and .txt files"):
        read_documents(tmp_path)
    with pytest.raises(DataError, match="0 passages are none to look up"):
        read_documents(tmp_path, k=0)


def test_documents_show_themselves_escaped():
    shown = Documents((Passage("<b>By</b> noon.", "a.md:1"),))
    assert "&lt;b&gt;By&lt;/b&gt; noon." in shown._repr_html_()
    assert repr(shown) == "the 3 best of 1 passage"
