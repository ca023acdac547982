"""A repair of a file, line by line: what no JSON reader takes, and what must come back to the byte."""

import codecs
import json
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.dataset.check.check import check
from workbench.dataset.repair.changes import changes_from_jsonl, changes_to_jsonl, undo
from workbench.dataset.repair.fixes import BY_DEFAULT
from workbench.dataset.repair.lines import repaired_line
from workbench.dataset.repair.repair import propose
from workbench.errors import DataError

LINE = '{"messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]}'
OTHER = LINE.replace("Hi", "Who?")
VALUE = json.loads(LINE)


@pytest.fixture
def file(tmp_path):
    """Writes the lines of a file and gives its path."""

    def write(*lines: str | bytes, end: str = "\n", mark: bytes = b"", encoding: str = "utf-8") -> Path:
        texts = [line if isinstance(line, bytes) else line.encode(encoding) for line in lines]
        path = tmp_path / "faq.jsonl"
        path.write_bytes(mark + b"".join(text + end.encode(encoding) for text in texts))
        return path

    return write


def undone(repair):
    """The file of before, from the file of after and what was written down."""
    return undo(repair.to_jsonl(), changes_from_jsonl(changes_to_jsonl(repair.changes)))


def read_as(line, *rules):
    """What a line that cannot be read becomes."""
    *_, last = [(None, line), *repaired_line(line, rules or BY_DEFAULT)]
    return last


def test_a_clean_file_is_written_as_it_is(file):
    path = file(LINE, OTHER.replace(": ", ":"), '{"messages":[{"content":"\\u00e9","role":"user"}]}')
    repair = propose(path)
    assert repair.changes.items == ()
    assert repair.to_jsonl() == path.read_bytes()


def test_a_file_without_a_last_line_feed_is_clean(file):
    path = file(LINE)
    path.write_bytes(path.read_bytes().rstrip(b"\n"))
    assert propose(path).to_jsonl() == path.read_bytes()


def test_windows_line_ends_a_mark_and_blank_lines_go(file):
    path = file(LINE, "", "  ", OTHER, end="\r\n", mark=codecs.BOM_UTF8)
    repair = propose(path)
    assert repair.to_jsonl() == f"{LINE}\n{OTHER}\n".encode()
    assert set(repair.rules) == {"line_ends"}
    assert repair.dropped == ()
    assert undone(repair) == path.read_bytes()


def test_mixed_line_ends_come_back_as_they_were(file):
    path = file(f"{LINE}\r\n{OTHER}\n\r\n{LINE} \r\r\n{OTHER}\r", end="")
    assert undone(propose(path)) == path.read_bytes()


def test_line_ends_stay_when_another_rule_is_named(file):
    path = file(LINE.replace("user", "human"), OTHER, end="\r\n", mark=codecs.BOM_UTF8)
    repair = propose(path, rules=["role"])
    assert repair.to_jsonl() == codecs.BOM_UTF8 + f"{LINE}\r\n{OTHER}\r\n".encode()
    assert undone(repair) == path.read_bytes()


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [("utf-16-le", codecs.BOM_UTF16_LE), ("utf-16-be", codecs.BOM_UTF16_BE), ("utf-16-le", b"")],
)
def test_utf_16_becomes_utf_8_and_back(file, encoding, mark):
    line = LINE.replace("Hi", "Grüße, 世界")
    path = file(line, OTHER, end="\r\n", mark=mark, encoding=encoding)
    repair = propose(path)
    assert repair.to_jsonl() == f"{line}\n{OTHER}\n".encode()
    assert undone(repair) == path.read_bytes()


def test_utf_16_is_not_repaired_by_other_rules_alone(file):
    path = file(LINE, mark=codecs.BOM_UTF16_LE, encoding="utf-16-le")
    with pytest.raises(DataError, match=r"faq.jsonl is utf-16-le, .* name the rule 'encoding'"):
        propose(path, rules=["role"])


def test_a_line_in_windows_1252_becomes_utf_8(file):
    path = file(LINE, OTHER.replace("Who", "Café").encode("cp1252"))
    repair = propose(path)
    assert repair.to_jsonl() == f"{LINE}\n{OTHER.replace('Who', 'Café')}\n".encode()
    assert undone(repair) == path.read_bytes()


def test_a_line_in_another_encoding_is_left_alone(file):
    path = file(
        LINE, OTHER.replace("Who", "世界" * 20), OTHER.replace("Who", "どこですか").encode("shift_jis")
    )
    repair = propose(path)
    assert repair.unreadable == ("faq.jsonl:3",)
    assert repair.to_jsonl() == path.read_bytes()


@pytest.mark.parametrize(
    ("rule", "line"),
    [
        ("json", LINE[:-1] + ",}"),
        ("json", LINE + ","),
        ("json", LINE.replace('"}]', '",}]')),
        ("json", LINE.replace('"', "'")),
        ("json", LINE.replace('"messages"', "messages")),
        ("json", LINE.replace('}, {"role"', '} {"role"')),
        ("object", json.dumps(LINE)),
        ("duplicate_key", LINE.replace('"role": "user"', '"role": "user", "role": "user"')),
    ],
)
def test_a_line_that_is_nearly_json_is_completed(rule, line):
    assert read_as(line) == (rule, VALUE)
    assert read_as(line, "role") == (None, line)


@pytest.mark.parametrize(
    "line",
    [
        LINE[:60],  # cut off: only its owner knows the rest
        LINE + LINE,
        "Hi there",
        "[1, 2]",
        "null",
        LINE.replace('"role": "user"', '"role": "user", "role": "system"'),
        "{'role': 'user', 'role': 'system'}",
        '{"score": NaN, "text": "a",}',
        '{"content": "He said "hi", ok?", "role": "user" and more}',
        "{" * 5_000 + "}" * 5_000,
        '{"a": ' * 5_000 + "1" + "}" * 5_000,
    ],
)
def test_a_line_of_which_nobody_knows_what_it_means_is_left_alone(line):
    assert read_as(line) == (None, line)


def test_a_printed_dictionary_keeps_its_texts():
    line = repr({"messages": [{"role": "user", "content": 'It\'s "so" 😀\n'}], "weight": None, "ok": True})
    assert read_as(line)[1] == {
        "messages": [{"role": "user", "content": 'It\'s "so" 😀\n'}],
        "weight": None,
        "ok": True,
    }


def test_neighbouring_texts_are_two_as_in_json_and_not_one_as_in_python():
    assert read_as("{'words': ['a' 'b']}")[1] == {"words": ["a", "b"]}


def test_a_character_in_two_halves_is_made_whole():
    assert read_as(r"{'content': '\ud83d\ude00'}")[1] == {"content": "😀"}


def test_numbers_that_are_none_become_null():
    assert read_as('{"score": NaN, "best": [-Infinity, 1e999, 2.5]}') == (
        "not_finite",
        {"score": None, "best": [None, None, 2.5]},
    )


def test_line_breaks_in_a_text_are_escaped(file):
    path = file(LINE.replace("Hello", "Hel\tlo"))
    repair = propose(path)
    assert list(repair.rules) == ["control"]
    assert b"Hel\\tlo" in repair.to_jsonl()


def test_an_array_around_the_lines_is_taken_away(file):
    path = file("[", LINE + ",", OTHER, "]")
    repair = propose(path)
    assert repair.to_jsonl() == f"{LINE}\n{OTHER}\n".encode()
    assert undone(repair) == path.read_bytes()


def test_a_known_form_of_another_tool_becomes_a_chat(file):
    repair = propose(file('{"instruction": "Hi", "input": "", "output": "Hello"}'))
    assert json.loads(repair.to_jsonl()) == VALUE
    assert list(repair.rules) == ["messages"]


def test_lines_that_cannot_be_read_stay_where_they_are(file):
    path = file(LINE[:40], LINE.replace("user", "human"), "so?")
    repair = propose(path)
    assert repair.to_jsonl() == f"{LINE[:40]}\n{LINE}\nso?\n".encode()
    assert repair.unreadable == ("faq.jsonl:1", "faq.jsonl:3")


def test_examples_need_every_line_to_be_readable(file):
    path = file(LINE[:40], LINE, "so?")
    with pytest.raises(DataError, match=r"faq.jsonl line 1 and 1 more line cannot be read even now"):
        propose(path).apply()
    dataset = propose(path, rules=[*BY_DEFAULT, "errors"]).apply()
    assert [example.origin for example in dataset] == ["faq.jsonl:2"]


def test_the_examples_of_a_file_keep_the_lines_they_came_from(file):
    dataset = propose(file("", LINE.replace("user", "human"), "", OTHER)).apply()
    assert [(example.origin, example.question) for example in dataset] == [
        ("faq.jsonl:2", "Hi"),
        ("faq.jsonl:4", "Who?"),
    ]


def test_a_repair_is_written_as_a_file(file, tmp_path):
    repair = propose(file(LINE.replace("user", "human")))
    assert repair.write(tmp_path / "better.jsonl").read_text() == LINE + "\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["better.jsonl", "faq.jsonl"]


def test_a_file_that_changed_meanwhile_is_not_repaired(file):
    path = file(LINE.replace("user", "human"))
    repair = propose(path)
    path.write_text(OTHER)
    with pytest.raises(DataError, match=r"faq.jsonl has changed since the repair was proposed"):
        repair.to_jsonl()


def test_the_diff_of_a_line_shows_the_line(file):
    assert propose(file(LINE[:-1] + ",}")).diff() == (
        f"--- faq.jsonl:1\n+++ faq.jsonl:1, repaired by the rule 'json'\n- {LINE[:-1]},}}\n+ {LINE}"
    )


@pytest.mark.parametrize("name", ["faq.csv", "faq.xlsx", "faq.json"])
def test_what_is_not_written_line_by_line_is_to_be_read_first(name):
    with pytest.raises(DataError, match="is not written line by line; read it first"):
        propose(name)


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    with pytest.raises(DataError, match="does not exist"):
        propose(tmp_path / "faq.jsonl")


PLANTED = {
    "role": LINE.replace("user", "human"),
    "whitespace": OTHER.replace("Hello", "Hello "),
    "json": LINE.replace("Hi", "Where?")[:-1] + ",}",
    "order": LINE.replace('"Hi"}', '"Why?"}, {"role": "user", "content": "Tell me."}'),
    "last": LINE.replace("Hi", "When?").replace("]", ', {"role": "user", "content": "Thanks."}]'),
    "system_place": LINE.replace('"Hi"}', '"How?"}, {"role": "system", "content": "Be brief."}'),
    "weight": LINE.replace("Hi", "What?").replace('"Hello"', '"Hello", "weight": "1"'),
    "mojibake": LINE.replace("Hi", "Is it Ã©tÃ©?"),
    "messages": '{"prompt": "Say something.", "completion": "Something."}',
    "not_finite": LINE.replace("Hi", "Whose?")[:-1] + ', "score": NaN}',
    "duplicate": LINE,
}


def test_a_check_after_the_repair_finds_nothing_that_was_repaired(file):
    path = file(*PLANTED.values(), end="\r\n", mark=codecs.BOM_UTF8)
    before = check(path, method="sft", only=("format", "repeats", "texts"))
    repair = propose(path, before)
    assert set(repair.rules) == {*PLANTED, "line_ends"}
    repair.write(path)
    after = check(path, method="sft", only=("format", "repeats", "texts"))
    assert {problem.rule for problem in after.problems} & set(repair.rules) == set()
    assert len(after.errors) == 0 < len(before.errors)


def test_a_check_of_the_repaired_examples_finds_nothing_that_was_repaired(file):
    repair = propose(file(*PLANTED.values()))
    after = check(repair.apply(), method="sft", only=("format", "repeats", "texts"))
    assert {problem.rule for problem in after.problems} & set(repair.rules) == set()


PIECES = st.sampled_from(
    [LINE, OTHER, LINE.replace('"', "'"), LINE[:-1] + ",}", LINE[:30], "{", "[", "]", "\ufeff", "\x00", " "]
)
ENDS = st.sampled_from(["\n", "\r\n", "\r", ""])
TEXT = st.lists(PIECES | st.text(max_size=8) | ENDS, max_size=12).map("".join)
BYTES = st.lists((PIECES | ENDS).map(str.encode) | st.binary(max_size=8), max_size=12).map(b"".join)
PATIENT = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@PATIENT
@given(BYTES)
def test_whatever_a_file_holds_its_repair_can_be_undone(tmp_path, content):
    path = tmp_path / "any.jsonl"
    path.write_bytes(content)
    with suppress(DataError):  # it is no text at all, or in no encoding that could be written back
        assert undone(propose(path, method="sft")) == content


@PATIENT
@given(TEXT)
def test_what_was_repaired_needs_no_repair(tmp_path, text):
    path = tmp_path / "any.jsonl"
    path.write_bytes(text.encode())
    with suppress(DataError):  # so many control characters that it is no text
        propose(path, method="sft").write(path)
        assert not propose(path, method="sft").changes
