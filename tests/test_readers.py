import json
from pathlib import Path

import pytest

from workbench.dataset import parse_jsonl, read
from workbench.errors import DataError

CHAT = '{"messages": [{"role": "user", "content": "q"}, {"role": "assistant", "content": "a"}]}'


def written(tmp_path: Path, name: str, content: str | bytes) -> Path:
    path = tmp_path / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def summary(path: Path, **options: str) -> list[tuple[str, str, str]]:
    return [(example.question, example.answer, example.origin) for example in read(path, **options)]


# Tables


def test_a_csv_becomes_one_chat_a_row(tmp_path):
    (example,) = read(written(tmp_path, "faq.csv", "question,answer\nWhy?,Because.\n"), system="Be brief.")
    assert example.messages == (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Why?"},
        {"role": "assistant", "content": "Because."},
    )
    assert example.origin == "faq.csv:2"


def test_the_columns_are_found_by_name_and_others_left_out(tmp_path):
    path = written(tmp_path, "faq.csv", "id, reply ,ask\n7,Because.,Why?\n")
    assert summary(path, question="ask", answer="reply") == [("Why?", "Because.", "faq.csv:2")]


def test_the_origin_is_the_line_on_which_a_row_starts(tmp_path):
    path = written(tmp_path, "faq.csv", 'question,answer\n"a\n\nb",1\n\n,,\n"c, ""d""",2\n')
    assert summary(path) == [("a\n\nb", "1", "faq.csv:2"), ('c, "d"', "2", "faq.csv:7")]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_encodings_and_line_ends_do_not_matter(tmp_path, encoding, end):
    text = end.join(["question,answer", "Où?,Là.", "Qué?,Sí ☃"])
    path = written(tmp_path, "faq.csv", text.encode(encoding))
    assert summary(path) == [("Où?", "Là.", "faq.csv:2"), ("Qué?", "Sí ☃", "faq.csv:3")]


def test_big_endian_utf_16_is_read_too(tmp_path):
    path = written(tmp_path, "faq.csv", b"\xfe\xff" + "question,answer\nq,é\n".encode("utf-16-be"))
    assert summary(path) == [("q", "é", "faq.csv:2")]


@pytest.mark.parametrize(("name", "separator"), [("faq.csv", ";"), ("faq.csv", "\t"), ("faq.tsv", "\t")])
def test_other_separators_are_noticed(tmp_path, name, separator):
    path = written(tmp_path, name, f"question{separator}answer\na,b{separator}c\n")
    assert summary(path) == [("a,b", "c", f"{name}:2")]


def test_texts_are_kept_as_they_are(tmp_path):
    path = written(tmp_path, "faq.csv", 'question,answer\n  a  ,"x\r\ny "\n')
    assert summary(path) == [("  a  ", "x\r\ny ", "faq.csv:2")]


def test_a_missing_cell_is_an_empty_text_for_check_to_find(tmp_path):
    assert summary(written(tmp_path, "faq.csv", "question,answer\nalone\n")) == [("alone", "", "faq.csv:2")]


def test_a_very_long_text_is_read(tmp_path):
    path = written(tmp_path, "faq.csv", f"question,answer\n{'x' * 300_000},a\n")
    assert len(read(path)[0].question) == 300_000


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "faq.csv is empty; it should hold examples."),
        (" \n\r\n", "faq.csv is empty; it should hold examples."),
        ("\ufeff", "faq.csv is empty; it should hold examples."),
        (",,\n", "faq.csv has no header; its first line should name the columns."),
        ("question,answer\n", "faq.csv has a header and no rows; add the examples to learn from."),
        ("question,answr\nq,a\n", "faq.csv has no column 'answer'; it has question, answr."),
        ("question,answer,answer\n", "faq.csv has the column 'answer' twice; rename one of them."),
        (
            "question,answer\nq,a\nwell, then,a\n",
            "faq.csv line 3 has 3 cells where the header has 2; "
            "put a text that holds the separator in double quotes.",
        ),
        (
            'question,answer\nq,a\nq,"never\nends\n',
            "faq.csv line 3: a quoted text is never closed; a quote inside a quoted text is written twice.",
        ),
        (
            'question,answer\n"say "hi"",a\n',
            "faq.csv line 2: ',' expected after '\"'; a quote inside a quoted text is written twice.",
        ),
        (
            b"question,answer\nq,a\nq,caf\xe9\n",
            "faq.csv line 3: the byte 0xe9 is not UTF-8; save the file as UTF-8 (in Excel: 'CSV UTF-8').",
        ),
        (
            b"\xef\xbb\xbfquestion,answer\r\nq,\xff\r\n",
            "faq.csv line 2: the byte 0xff is not UTF-8; save the file as UTF-8 (in Excel: 'CSV UTF-8').",
        ),
        (
            b"\xff\xfeq\x00\n\x00a",
            "faq.csv line 2: the byte 0x61 is not UTF-16; save the file as UTF-8 (in Excel: 'CSV UTF-8').",
        ),
        (
            b"PK\x03\x04\n\x14\x00\x06\x00",
            "faq.csv is not a text file: line 2 holds a NUL byte; save the data as UTF-8 text.",
        ),
    ],
)
def test_a_table_that_cannot_be_used_says_why(tmp_path, content, message):
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, "faq.csv", content))
    assert str(caught.value) == message


# Paths


def test_a_missing_file_says_where_it_was_looked_for(tmp_path):
    with pytest.raises(DataError, match=r"none.csv does not exist \(looked in .+\); check the name"):
        read(tmp_path / "none.csv")


def test_a_folder_is_no_file(tmp_path):
    (tmp_path / "data.csv").mkdir()
    with pytest.raises(DataError, match=r"data.csv is a folder; name a file in it"):
        read(tmp_path / "data.csv")


def test_another_kind_of_file_is_refused_with_those_that_can_be_read(tmp_path):
    with pytest.raises(
        DataError, match=r"\(.csv, .tsv, .jsonl, .ndjson, .json\); save the data as one of them"
    ):
        read(written(tmp_path, "faq.xlsx", "PK"))


def test_a_file_name_in_capitals_and_a_path_as_text_are_fine(tmp_path):
    path = written(tmp_path, "FAQ.CSV", "question,answer\nq,a\n")
    assert read(str(path)).name == "FAQ.CSV"


# Chats


def test_jsonl_keeps_messages_and_everything_beside_them(tmp_path):
    line = (
        CHAT[:-2] + ', {"role": "assistant", "content": "b", "weight": 0}], "tools": [{"type": "function"}]}'
    )
    (example,) = read(written(tmp_path, "a.jsonl", line))
    assert example.messages[2] == {"role": "assistant", "content": "b", "weight": 0}
    assert example.more == {"tools": [{"type": "function"}]}


def test_what_is_written_is_read_again(tmp_path):
    texts = ["plain", "é ☃ 😀", "two\nlines\r\n", "\u2028\u2029\x85\x0b", '"quoted"', "\ud800", "\x00", "  "]
    lines = [
        json.dumps({"messages": [{"role": "user", "content": t}, {"role": "assistant", "content": t}]})
        for t in texts
    ]
    first = read(written(tmp_path, "a.jsonl", "\n".join(lines)))
    again = parse_jsonl(first.to_jsonl(), "a.jsonl")
    assert [example.answer for example in again] == texts
    assert again.sha256 == first.sha256


def test_blank_lines_count_and_hold_nothing(tmp_path):
    dataset = read(written(tmp_path, "a.jsonl", f"\n{CHAT}\r\n   \r\n{CHAT}"))
    assert [example.origin for example in dataset] == ["a.jsonl:2", "a.jsonl:4"]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16"])
def test_a_chat_file_may_carry_a_byte_order_mark(encoding):
    assert len(parse_jsonl(CHAT.encode(encoding), "a.jsonl")) == 1


def test_a_json_array_of_chats_names_the_position(tmp_path):
    dataset = read(written(tmp_path, "a.json", f"[{CHAT},\n {CHAT}]"))
    assert [example.origin for example in dataset] == ["a.json[0]", "a.json[1]"]


def test_a_json_file_of_lines_is_read_as_lines(tmp_path):
    assert len(read(written(tmp_path, "a.json", f"{CHAT}\n{CHAT}\n"))) == 2


def test_a_system_message_is_added_only_where_there_is_none(tmp_path):
    own = '{"messages": [{"role": "developer", "content": "mine"}, {"role": "user", "content": "q"}]}'
    dataset = read(written(tmp_path, "a.jsonl", f"{CHAT}\n{own}"), system="yours")
    assert [example.messages[0]["content"] for example in dataset] == ["yours", "mine"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "a.jsonl is empty; it should hold examples."),
        (
            CHAT + '\n{"messages": [',
            "a.jsonl line 2: not JSON (Expecting value, character 15); "
            "each line of a JSONL file is one complete object.",
        ),
        (
            CHAT + CHAT,
            "a.jsonl line 1: not JSON (Extra data, character 88); "
            "each line of a JSONL file is one complete object.",
        ),
        ("[1]", "a.jsonl line 1 is a list; it should be an object with 'messages'."),
        ("null", "a.jsonl line 1 is null; it should be an object with 'messages'."),
        (
            '{"prompt": "p", "completion": "c"}',
            "a.jsonl line 1 has no 'messages' (it has prompt, completion); a chat is {\"messages\": [...]}.",
        ),
        ('{"messages": []}', "a.jsonl line 1: messages is empty; it should be a list of messages."),
        ('{"messages": "hi"}', "a.jsonl line 1: messages is a text; it should be a list of messages."),
        (
            '{"messages": [{"role": "user"}, "hi"]}',
            "a.jsonl line 1: messages[1] is a text; it should be an object with 'role' and 'content'.",
        ),
        ('{"messages": NaN}', "a.jsonl line 1: not JSON (NaN is no number in JSON; write null or a number)."),
        ("[" * 100_000, "a.jsonl line 1: lists and objects are nested too deeply."),
        (
            '{"messages": [{"content": ' + "[" * 200 + "]" * 200 + "}]}",
            "a.jsonl line 1: lists and objects are nested more than 100 deep.",
        ),
        (
            b"\x89PNG\r\n\x1a\n\x00",
            "a.jsonl is not a text file: line 3 holds a NUL byte; save the data as UTF-8 text.",
        ),
    ],
)
def test_a_chat_file_that_cannot_be_used_says_why(content, message):
    with pytest.raises(DataError) as caught:
        parse_jsonl(content.encode() if isinstance(content, str) else content, "a.jsonl")
    assert str(caught.value) == message


def test_a_number_too_long_for_python_is_a_clear_error():
    with pytest.raises(DataError, match=r"a.jsonl line 1: not JSON \(Exceeds the limit"):
        parse_jsonl(b'{"messages": ' + b"9" * 5000 + b"}", "a.jsonl")


def test_an_array_without_chats_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"a.json has no examples; add the examples to learn from"):
        read(written(tmp_path, "a.json", "[]"))


def test_an_array_item_that_is_no_chat_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a.json\[1\] is a number; it should be an object with 'messages'"):
        read(written(tmp_path, "a.json", f"[{CHAT}, 5]"))
