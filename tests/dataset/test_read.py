import codecs
import datetime
import io
import json
import os
import zipfile
from contextlib import suppress
from pathlib import Path

import numpy
import openpyxl
import pandas
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyarrow import parquet

from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.json_text import decoded, encoding_of, require_utf_8
from workbench.dataset.read import parse_jsonl, read
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
        (
            "question,answr\nq,a\n",
            "faq.csv has the columns question, answr, and none has a usual name for what answers; "
            "name it with answer=.",
        ),
        (
            "colour,answer\nred,a\n",
            "faq.csv has the columns colour, answer, and none has a usual name for what asks; "
            "name it with question=.",
        ),
        ("question,answer,answer\nq,a,b\n", "faq.csv has the column 'answer' twice; rename one of them."),
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
            b"question,answer\nq,a\nq,caf\xe9\nq,\xc3\xa9\xc3\xa9\n",
            "faq.csv line 3: the byte 0xE9 is not UTF-8; save the file as UTF-8 (in Excel: 'CSV UTF-8').",
        ),
        (
            b"\xef\xbb\xbfquestion,answer\r\nq,\xff\r\n",
            "faq.csv line 2: the byte 0xFF is not UTF-8; save the file as UTF-8 (in Excel: 'CSV UTF-8').",
        ),
        (
            b"\xff\xfeq\x00\n\x00a",
            "faq.csv line 2: the byte 0x61 is not UTF-16; save the file as UTF-8 (in Excel: 'CSV UTF-8').",
        ),
        (
            b"PK\x03\x04\n\x14\x00\x06\x00",
            "faq.csv is a ZIP or Excel file by its first bytes; "
            "name it .xlsx if it is a workbook, or unpack it.",
        ),
        (
            b"question,answer\nq,a\x00b\n",
            "faq.csv is not a text file: line 2 holds a NUL byte (offset 19); save the data as UTF-8 text.",
        ),
        (
            b"question,answer\nq,caf\xe9\n" + b"q,caf\xe9\n" * 300 + b"q,\x01\n",
            "faq.csv is not a text file (line 303); save the data as UTF-8 text.",
        ),
        (
            b"question,answer\nq,\x81\x02\xff\n",
            "faq.csv line 2: the byte 0x81 is not UTF-8; save the file as UTF-8 (in Excel: 'CSV UTF-8').",
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


def test_a_pipe_is_no_plain_file(tmp_path):
    os.mkfifo(tmp_path / "a.jsonl")
    with pytest.raises(DataError, match=r"a.jsonl is no plain file; copy its content to one"):
        read(tmp_path / "a.jsonl")


def test_an_impossible_name_does_not_exist():
    with pytest.raises(DataError, match="cannot be read: embedded null byte"):
        read("a\0.csv")


def test_another_kind_of_file_is_refused_with_those_that_can_be_read(tmp_path):
    kinds = (
        r"\(.csv, .tsv, .xlsx, .xlsm, .parquet, .pq, .jsonl, .ndjson, .json\); save the data as one of them"
    )
    with pytest.raises(DataError, match=kinds):
        read(written(tmp_path, "faq.docx", "PK"))


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


def test_an_upload_may_carry_a_byte_order_mark_and_is_utf_8():
    assert len(parse_jsonl(CHAT.encode("utf-8-sig"), "a.jsonl")) == 1
    with pytest.raises(
        DataError, match=r"^a.jsonl: the file is UTF-16, not UTF-8: line 1 has the byte 0xFF;"
    ):
        parse_jsonl(b"\xff\xfe" + CHAT.encode("utf-16-le"), "a.jsonl")


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_a_json_array_names_the_line_on_which_each_element_starts(tmp_path, end):
    spread = CHAT.replace(", ", f",{end}  ")
    dataset = read(
        written(tmp_path, "a.json", f"{end}[{CHAT},{end}{end} {spread}{end},{end} {CHAT}{end}]{end}")
    )
    assert [example.origin for example in dataset] == ["a.json:2", "a.json:4", "a.json:9"]


def test_a_list_of_stored_objects_is_read_from_its_data(tmp_path):
    text = (
        '{"object": "list", "note": "\\"data\\": [1]",\n "data": [\n'
        + f'{CHAT},\n{CHAT}], "has_more": false}}'
    )
    dataset = read(written(tmp_path, "a.json", text))
    assert [example.origin for example in dataset] == ["a.json:3", "a.json:4"]


def test_one_object_over_several_lines_is_one_example(tmp_path):
    (example,) = read(written(tmp_path, "a.json", json.dumps(json.loads(CHAT), indent=2)))
    assert (example.question, example.origin) == ("q", "a.json:1")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (
            f"[{CHAT}\n{CHAT}]",
            "a.json line 2: not JSON (Expecting ',' or ']', character 2); an array ends with ']'.",
        ),
        (
            f"[{CHAT},\n",
            "a.json line 2: not JSON (Expecting value, character 1); look at commas and quotes.",
        ),
        (
            f"[{CHAT}]\nx",
            "a.json line 2: not JSON (Extra data behind the array, character 1); "
            "a JSON file holds one array.",
        ),
        ("[\n" + "[" * 10_000, "a.json line 2: lists and objects are nested too deeply."),
        (
            '[\n{"messages": Infinity}]',
            "a.json line 2: not JSON (Infinity is no number in JSON; write null or a number).",
        ),
        (
            "[" + "{" * 3,
            "a.json line 1: not JSON (Expecting property name enclosed in double quotes, character 3); "
            "look at commas and quotes.",
        ),
    ],
)
def test_a_broken_array_says_on_which_line(tmp_path, content, message):
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, "a.json", content))
    assert str(caught.value) == message


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
            "a.jsonl is an image by its first bytes; name the file that holds the examples.",
        ),
        (
            b'{"messages": [{"role": "user", "content": "a\x00"}]}',
            "a.jsonl is not a text file: line 1 holds a NUL byte (offset 44); save the data as UTF-8 text.",
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
    with pytest.raises(DataError, match=r"a.json line 1 is a number; it should be an object with 'messages'"):
        read(written(tmp_path, "a.json", f"[{CHAT}, 5]"))


def test_further_unusable_lines_are_counted(tmp_path):
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, "a.jsonl", f"{CHAT}\n{{\n{CHAT}\n[\n]\n"))
    assert str(caught.value) == (
        "a.jsonl line 2: not JSON (Expecting property name enclosed in double quotes, character 2); "
        "each line of a JSONL file is one complete object. 2 further lines cannot be used either; "
        "check lists them all."
    )


def test_the_last_of_two_equal_keys_counts():
    (example,) = parse_jsonl(b'{"messages": 5, ' + CHAT[1:].encode(), "a.jsonl")
    assert example.answer == "a"


def test_an_upload_is_never_converted():
    with pytest.raises(DataError, match=r"a.jsonl line 1 has no 'messages' \(it has instruction, output\)"):
        parse_jsonl(b'{"instruction": "i", "output": "o"}', "a.jsonl")


# Encodings


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", ()),
        ("utf-8-sig", ()),
        ("utf-16", ("the encoding is UTF-16",)),
        ("utf-32", ("the encoding is UTF-32",)),
        ("utf-16-le", ("the encoding is guessed: UTF-16-LE",)),
        ("utf-16-be", ("the encoding is guessed: UTF-16-BE",)),
        ("utf-32-le", ("the encoding is guessed: UTF-32-LE",)),
        ("utf-32-be", ("the encoding is guessed: UTF-32-BE",)),
    ],
)
@pytest.mark.parametrize(
    "text", ["question,answer\nOù?,Là.\n", "question,answer\n一丁七万丈三上,一一一一一😀\n"]
)
def test_every_unicode_encoding_is_told_by_its_bytes(encoding, note, text):
    assert decoded(text.encode(encoding), "faq.csv") == (text, note)


@pytest.mark.parametrize(
    ("encoding", "label", "text"),
    [
        ("cp1252", "Windows-1252", "question,answer\nq,caf\u00e9\nq,na\u00efve\n"),
        (
            "cp1252",
            "Windows-1252",
            "question;answer\nO\u00f9 est le caf\u00e9 ?;\u00c0 gauche \u2013 3 \u20ac\n",
        ),
        ("latin-1", "Windows-1252", "Stra\u00dfe,\u00d6l\n\u00dcber,gr\u00f6\u00dfer\n"),
        ("cp1251", "Windows-1251", "вопрос,ответ\nКак дела?,Хорошо, спасибо\n"),
        ("cp1250", "Windows-1250", "otázka,odpověď\nPříliš žluťoučký kůň,úpěl ďábelské ódy\n"),
        ("cp1252", "Windows-1252", "fråga,svar\nHur mår du?,Jag mår bra\n"),
        ("cp1252", "Windows-1252", "question,answer\nIt’s “fine” – isn’t it?,Yes…\n"),
        ("cp1254", "Windows-1254", "soru,cevap\nNasılsın?,İyiyim, teşekkür ederim\n"),
        ("cp932", "CP932", "質問,答え\nお元気ですか,はい元気です\n"),
    ],
)
def test_an_old_encoding_is_guessed_and_told(encoding, label, text):
    notes = (f"the encoding is guessed: {label}; look at a text with accents",)
    assert decoded(text.encode(encoding), "faq.csv") == (text, notes)


@pytest.mark.parametrize("byte", [b"\xe9", b"\xff", b"\x81", b"\xc3"])
@pytest.mark.parametrize("rows", [1, 5, 1_000])
def test_one_broken_byte_is_named_and_no_other_encoding_is_guessed(byte, rows):
    data = b"question,answer\n" + b"q,a\n" * (rows - 1) + b"q,caf" + byte + b"\n"
    with pytest.raises(DataError) as caught:
        decoded(data, "a.csv")
    found = f"a.csv line {rows + 1}: the byte 0x{byte[0]:02X} is not UTF-8"
    assert str(caught.value) == f"{found}; save the file as UTF-8 (in Excel: 'CSV UTF-8')."


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("Où est la clé? ".encode("cp1252") * 2, "cp1252"),
        (b"Where is the key of the hall? " * 1_000 + "The café is naïve.".encode("cp1252"), "utf-8"),
        (b"Where is the key of the hall? " * 1_000 + "The naïve café is. ".encode("cp1252") * 5, "cp1252"),
        (b"Where is the key? " * 9 + b"Da\xcdmaged \xff\xdfytes h\xd7re", "utf-8"),  # no letters of words
        ("Größe ".encode() * 6 + "Größe ".encode("cp1252") * 3, "utf-8"),
        ("Où est la clé? ".encode("cp1252") * 6 + "Ã©".encode("cp1252"), "cp1252"),  # UTF-8 by chance, once
    ],
)
def test_another_encoding_needs_many_bytes_that_make_sense_in_it(data, encoding):
    assert encoding_of(data, "a.csv").name == encoding


def test_one_damaged_letter_of_utf_16_and_stray_zeros_in_utf_8_change_no_encoding():
    wide = ("question,answer\n" * 20).encode("utf-16-le")
    assert encoding_of(wide[:80] + b"\x00\xd8" + wide[82:], "a.csv").name == "utf-16-le"
    assert encoding_of(b"question,answer\n" * 20 + b"caf\xe9 a\x00b\n", "a.csv").name == "utf-8"


def test_a_large_file_is_utf_8_however_its_letters_are_cut(monkeypatch):
    monkeypatch.setattr("workbench.dataset.json_text.SAMPLE", 7)
    good = ("aé€😀\n" * 30).encode()
    require_utf_8(io.BytesIO(codecs.BOM_UTF8 + good), "a.jsonl")
    for mark in (b"", codecs.BOM_UTF8):
        with pytest.raises(DataError, match=r"^a.jsonl:31 character 4: the byte 0xE2 is not UTF-8; "):
            require_utf_8(io.BytesIO(mark + good + "aé😀".encode() + b"\xe2\x82"), "a.jsonl")
        with pytest.raises(DataError, match=r"^a.jsonl:31 character 17: the byte 0xA4 is not UTF-8; "):
            require_utf_8(io.BytesIO(mark + good + b"a" * 16 + b"\xa4\n" + good), "a.jsonl")


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"PAR1....", "a.csv is a Parquet file by its first bytes; name it .parquet."),
        (b"%PDF-1.7\n%\xe2\xe3", "a.csv is a PDF by its first bytes; copy the examples into a table."),
        (b"\x1f\x8b\x08", "a.csv is a gzip archive by its first bytes; unpack it."),
        (
            b"\xd0\xcf\x11\xe0\xa1",
            "a.csv is an old Excel or Word file by its first bytes; save it as .xlsx or as 'CSV UTF-8'.",
        ),
    ],
)
def test_a_file_of_another_kind_is_told_by_its_first_bytes(data, message):
    with pytest.raises(DataError) as caught:
        decoded(data, "a.csv")
    assert str(caught.value) == message


@given(st.binary(max_size=60))
def test_no_bytes_are_a_traceback(data):
    with suppress(DataError):
        text, _ = decoded(data, "a.jsonl")
        assert text.strip()


@given(st.binary(max_size=80) | st.text(max_size=80).map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_no_file_is_a_traceback(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("any")
    for kind in (".csv", ".tsv", ".json", ".jsonl", ".xlsx", ".parquet"):
        path = written(folder, f"a{kind}", data)
        with suppress(DataError):
            assert len(read(path)) > 0


# Columns


def test_columns_with_usual_names_are_guessed_and_told(tmp_path):
    dataset = read(written(tmp_path, "faq.csv", "id,Question,query\n7,Why?,because\n"))
    assert (dataset[0].question, dataset[0].answer, dataset[0].metadata) == ("Why?", "because", {"id": "7"})
    assert dataset.notes == (
        "the question is guessed: the column 'Question'",
        "the answer is guessed: the column 'query'",
    )


@pytest.mark.parametrize(
    ("header", "question", "answer"),
    [
        ("question,query", "question", "query"),
        ("query,response", "query", "response"),
        ("query,label", "query", "label"),
        ("text,label", "text", "label"),
        ("input,output", "input", "output"),
        ("instruction,response,context", "instruction", "response"),
        ("answer,prompt", "prompt", "answer"),
        ("User Message,Reply", "User Message", "Reply"),
    ],
)
def test_which_of_the_usual_names_asks_and_which_answers(tmp_path, header, question, answer):
    names = header.split(",")
    (example,) = read(written(tmp_path, "faq.csv", f"{header}\n{header}\n"))
    assert (example.question, example.answer) == (question, answer)
    assert set(example.metadata) == set(names) - {question, answer}


def test_what_is_named_is_not_noted(tmp_path):
    path = written(tmp_path, "faq.csv", "question,query\nq,a\n")
    assert read(path, question="question", answer="query").notes == ()


def test_a_template_puts_columns_together(tmp_path):
    path = written(tmp_path, "faq.csv", "title,body,reply,team\nT,B,R,x\n")
    (example,) = read(path, question="{title}\n\n{body}", answer="{{{reply}}}")
    assert (example.question, example.answer) == ("T\n\nB", "{R}")
    assert example.metadata == {"title": "T", "body": "B", "reply": "R", "team": "x"}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"question": "ask"}, "faq.csv has no column 'ask'; it has question, answer, extra."),
        (
            {"question": "{question} {titel}"},
            "faq.csv has no column 'titel', which '{question} {titel}' asks for; "
            "it has question, answer, extra.",
        ),
        ({"question": "{}"}, "faq.csv has no column '{}'; it has question, answer, extra."),
        ({"reference": ["ref"]}, "faq.csv has no column 'ref'; it has question, answer, extra."),
        ({"preferred": "answer"}, "preferred is given without rejected; a preference pair has both."),
        ({"rejected": "answer"}, "rejected is given without preferred; a preference pair has both."),
        (
            {"answer": "answer", "preferred": "answer", "rejected": "extra"},
            "answer is given beside preferred and rejected; leave it out, there is no single answer then.",
        ),
        (
            {"answer": "answer", "reference": "extra"},
            "answer is given beside reference; leave it out, there is no single answer then.",
        ),
        (
            {"preferred": "answer", "rejected": "extra", "reference": "extra"},
            "reference is given beside preferred and rejected; choose one of them.",
        ),
        (
            {"system": "Serve {extra} in {tone}."},
            "faq.csv has no column 'tone', which 'Serve {extra} in {tone}.' asks for; "
            "it has question, answer, extra.",
        ),
        ({"sheet": "One"}, "faq.csv has no sheets, so sheet='One' means nothing; leave it out."),
    ],
)
def test_a_wrong_choice_of_columns_says_what_there_is(tmp_path, options, message):
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, "faq.csv", "question,answer,extra\nq,a,e\n"), **options)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("system", "said"),
    [
        ("Be brief.", "Be brief."),
        ("team", "billing"),
        ("You serve {team}.", "You serve billing."),
        ('Answer as {"team": text}.', 'Answer as {"team": text}.'),
        ("Write {{ for {x}", "Write {{ for {x}"),
    ],
)
def test_a_system_message_is_a_text_a_column_or_a_template(tmp_path, system, said):
    path = written(tmp_path, "faq.csv", "question,answer,team\nq,a,billing\n")
    assert read(path, system=system)[0].messages[0] == {"role": "system", "content": said}


def test_an_empty_system_cell_adds_no_message(tmp_path):
    path = written(tmp_path, "faq.csv", "question,answer,team\nq,a, \n")
    assert [message["role"] for message in read(path, system="team")[0].messages] == ["user", "assistant"]


def test_two_columns_make_preference_pairs(tmp_path):
    path = written(tmp_path, "faq.csv", "ask,good,bad,who\nq,yes,no,me\n")
    (example,) = read(path, question="ask", preferred="good", rejected="bad", system="S")
    assert (example.method, example.question, example.answer) == ("dpo", "q", "yes")
    assert example.wire == {
        "input": {"messages": [{"role": "system", "content": "S"}, {"role": "user", "content": "q"}]}
        | {"messages": example.messages},
        "preferred_output": [{"role": "assistant", "content": "yes"}],
        "non_preferred_output": [{"role": "assistant", "content": "no"}],
    }
    assert example.metadata == {"who": "me"}


def test_preference_columns_are_guessed_where_there_is_no_answer(tmp_path):
    dataset = read(written(tmp_path, "faq.csv", "question,preferred,non_preferred\nq,yes,no\n"))
    assert (dataset[0].method, dataset[0].answer) == ("dpo", "yes")
    assert "the rejected is guessed: the column 'non_preferred'" in dataset.notes


def test_reference_columns_make_prompts_for_reinforcement(tmp_path):
    path = written(tmp_path, "faq.csv", "question,answer,source\nq,a,book\n")
    (example,) = read(path, reference=("answer",), system="S")
    assert example.method == "rft"
    assert [message["role"] for message in example.messages] == ["system", "user"]
    assert (example.more, example.metadata) == ({"answer": "a"}, {"source": "book"})


def test_a_reference_named_messages_would_hide_the_prompt(tmp_path):
    path = written(tmp_path, "faq.csv", "question,messages\nq,m\n")
    with pytest.raises(DataError, match="messages is a text"):
        read(path)


def test_plain_records_of_a_json_file_are_read_like_rows(tmp_path):
    lines = '{"question": "q", "label": 3, "team": ["x"]}\n{"label": null, "question": "r"}'
    dataset = read(written(tmp_path, "a.jsonl", lines))
    assert [(e.question, e.answer, e.metadata) for e in dataset] == [
        ("q", "3", {"team": ["x"]}),
        ("r", "", {}),
    ]
    named = read(written(tmp_path, "a.jsonl", lines), question="{question}!", answer="label")
    assert [example.question for example in named] == ["q!", "r!"]
    rft = read(written(tmp_path, "a.jsonl", lines), question="question", reference="label")
    assert [example.more for example in rft] == [{"label": 3}, {"label": None}]


def test_a_record_without_the_field_is_named(tmp_path):
    path = written(tmp_path, "a.jsonl", '{"question": "q", "label": "l"}\n{"question": "q", "labl": "l"}')
    with pytest.raises(DataError, match=r"a.jsonl line 2 has no 'label'; it has question, labl\."):
        read(path)


def test_records_that_cannot_be_guessed_say_how_to_name_their_fields(tmp_path):
    with pytest.raises(DataError) as caught:
        read(written(tmp_path, "a.jsonl", '{"frage": "q", "antwort": "a"}'))
    assert str(caught.value) == (
        "a.jsonl line 1 has no 'messages' (it has frage, antwort); a chat is {\"messages\": [...]}, "
        "and question= and answer= name the fields of records."
    )


def test_a_misspelt_line_among_chats_is_no_record(tmp_path):
    with pytest.raises(DataError, match=r"a.jsonl line 2 has no 'messages' \(it has question, answer\)"):
        read(written(tmp_path, "a.jsonl", f'{CHAT}\n{{"question": "q", "answer": "a"}}'))


def test_columns_named_for_chats_are_not_needed_and_it_is_told(tmp_path):
    dataset = read(written(tmp_path, "a.jsonl", CHAT), question="question", answer="query", system="S")
    assert [message["role"] for message in dataset[0].messages] == ["system", "user", "assistant"]
    assert dataset.notes == ("the columns named were not needed: the rows hold whole conversations",)


# Tables in text


@pytest.mark.parametrize(
    ("text", "notes"),
    [
        ("question,answer\na;b,c\n", ()),
        ("question;answer\na,b;c\n", ("the separator is guessed: a semicolon",)),
        ("question|answer\na,b|c\n", ("the separator is guessed: a bar",)),
        ("question\tanswer\na,b\tc\n", ("the separator is guessed: a tab",)),
        ("sep=;\nquestion;answer\na,b;c\n", ()),
    ],
)
def test_the_separator_is_found(tmp_path, text, notes):
    dataset = read(written(tmp_path, "faq.csv", text), question="question", answer="answer")
    assert (dataset[0].answer, dataset.notes) == ("c", notes)
    assert dataset[0].origin == ("faq.csv:3" if text.startswith("sep") else "faq.csv:2")


def test_a_separator_is_found_by_unusual_columns_too(tmp_path):
    path = written(tmp_path, "faq.csv", "frage, kurz;antwort\nq;a\n")
    assert read(path, question="frage, kurz", answer="antwort")[0].answer == "a"
    assert read(path, question="{frage, kurz}?", answer="antwort")[0].question == "q?"


def test_a_column_without_a_name_is_left_out(tmp_path):
    (example,) = read(written(tmp_path, "faq.csv", ",question,answer\n0,q,a\n"))
    assert (example.question, example.metadata) == ("q", {})


def test_every_row_with_too_many_cells_is_counted(tmp_path):
    with pytest.raises(DataError, match=r"line 2 has 3 cells .* 1 further line cannot be used either"):
        read(written(tmp_path, "faq.csv", "question,answer\na,b,c\nq,a\nd,e,f\n"))


def test_conversations_in_cells_are_taken_out(tmp_path):
    cell = json.dumps(json.loads(CHAT)["messages"]).replace('"', '""')
    dataset = read(written(tmp_path, "a.csv", f'customer,messages\nx,"{cell}"\n'))
    assert (dataset[0].answer, dataset[0].more, dataset[0].metadata) == ("a", {}, {"customer": "x"})


def test_a_prompt_that_is_json_stays_a_text(tmp_path):
    path = written(tmp_path, "a.csv", 'prompt,completion\n"[1, 2]","{""role"": 1"\n')
    (example,) = read(path)
    assert (example.question, example.answer) == ("[1, 2]", '{"role": 1')


def test_broken_json_in_a_messages_cell_is_named(tmp_path):
    with pytest.raises(DataError, match=r"a.csv line 2: not JSON \(Expecting value, character 2\)"):
        read(written(tmp_path, "a.csv", "messages\n[\n"))


# Excel


def workbook(path: Path, **sheets: list[list[object]]) -> Path:
    book = openpyxl.Workbook()
    book.remove(book.active)
    for title, rows in sheets.items():
        sheet = book.create_sheet(title)
        for row in rows:
            sheet.append(row)
    book.save(path)
    return path


def test_excel_rows_keep_the_number_of_the_sheet(tmp_path):
    rows = [
        [],
        ["question", "answer", "when"],
        ["q", 7, datetime.datetime(2026, 11, 22)],
        [],
        ["r", None, 1.5],
    ]
    dataset = read(workbook(tmp_path / "faq.xlsx", One=rows))
    assert summary_of(dataset) == [("q", "7", "faq.xlsx:3"), ("r", "", "faq.xlsx:5")]
    assert [example.metadata for example in dataset] == [{"when": "2026-11-22"}, {"when": 1.5}]


def test_a_sheet_is_chosen_by_name_or_guessed_and_told(tmp_path):
    sheets = {
        "Empty": [],
        "One": [["question", "answer"], ["q", "a"]],
        "Two": [["question", "answer"], ["r", "b"]],
    }
    path = workbook(tmp_path / "faq.xlsx", **sheets)
    assert read(path).notes[0] == "the sheet is guessed: 'One' of Empty, One, Two"
    assert read(path, sheet="Two")[0].question == "r"
    with pytest.raises(DataError, match=r"faq.xlsx has no sheet 'Three'; it has Empty, One, Two"):
        read(path, sheet="Three")
    with pytest.raises(DataError, match=r"faq.xlsx is empty; it should hold examples"):
        read(path, sheet="Empty")


def test_a_broken_workbook_says_what_to_do(tmp_path):
    whole = workbook(tmp_path / "faq.xlsx", One=[["question", "answer"], ["q", "a"]]).read_bytes()
    for broken in (
        b"",
        b"PK",
        whole[: len(whole) // 2],
        b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1",
        b"question,answer",
    ):
        with pytest.raises(DataError, match=r"faq.xlsx is no Excel workbook .* save it as .xlsx"):
            read(written(tmp_path, "faq.xlsx", broken))


@settings(deadline=None, max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damage_inside_a_workbook_is_no_traceback(tmp_path, data):
    path = workbook(tmp_path / "whole.xlsx", One=[["question", "answer"], ["q", "a"]])
    parts = zipfile.ZipFile(path)
    name = data.draw(st.sampled_from(parts.namelist()))
    damaged = tmp_path / "faq.xlsx"
    with zipfile.ZipFile(damaged, "w") as archive:
        for part in parts.namelist():
            text = parts.read(part)
            if part == name:
                cut = data.draw(st.integers(0, len(text)))
                text = data.draw(st.sampled_from([text[:cut], text[:cut] + b"x" + text[cut + 1 :], b""]))
            archive.writestr(part, text)
    with suppress(DataError):
        assert len(read(damaged)) > 0


def test_a_row_number_beyond_all_sheets_does_not_go_on_for_ever(tmp_path):
    whole = zipfile.ZipFile(workbook(tmp_path / "whole.xlsx", One=[["question", "answer"], ["q", "a"]]))
    with zipfile.ZipFile(tmp_path / "faq.xlsx", "w") as archive:
        for part in whole.namelist():
            archive.writestr(part, whole.read(part).replace(b'<row r="2"', b'<row r="99999999999"'))
    with pytest.raises(DataError, match=r"faq.xlsx has a header and no rows"):
        read(tmp_path / "faq.xlsx")


# Parquet and DataFrames


def test_parquet_rows_are_numbered_from_one(tmp_path):
    table = pa.table({"question": ["q", None], "label": [1, 2], "day": [datetime.date(2026, 1, 2)] * 2})
    parquet.write_table(table, tmp_path / "faq.parquet")
    dataset = read(tmp_path / "faq.parquet")
    assert summary_of(dataset) == [("q", "1", "faq.parquet:1"), ("", "2", "faq.parquet:2")]
    assert dataset[0].metadata == {"day": "2026-01-02"}


def test_messages_in_a_parquet_column_have_only_what_is_filled(tmp_path):
    messages = [[{"role": "user", "content": "q", "name": "x"}, {"role": "assistant", "content": "a"}]]
    parquet.write_table(pa.table({"messages": messages, "score": [0.5]}), tmp_path / "a.parquet")
    (example,) = read(tmp_path / "a.parquet")
    assert example.messages == (
        {"role": "user", "content": "q", "name": "x"},
        {"role": "assistant", "content": "a"},
    )
    assert (example.more, example.metadata) == ({}, {"score": 0.5})


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" + b"\0" * 50 + b"PAR1"])
def test_a_broken_parquet_file_says_so(tmp_path, content):
    with pytest.raises(DataError, match=r"a.parquet is no Parquet file that can be read"):
        read(written(tmp_path, "a.parquet", content))


def test_a_dataframe_is_read_with_its_positions():
    frame = pandas.DataFrame(
        {
            "question": ["q", "r"],
            "answer": ["a", float("nan")],
            "n": pandas.array([1, None], dtype="Int64"),
            "when": [pandas.Timestamp("2026-11-22 10:00"), pandas.NaT],
            "kind": pandas.Categorical(["x", "y"]),
            "tags": [numpy.array([1, 2]), None],
        },
        index=[7, 7],
    )
    dataset = read(frame)
    assert summary_of(dataset) == [("q", "a", "DataFrame:0"), ("r", "", "DataFrame:1")]
    assert [dict(example.metadata) for example in dataset] == [
        {"n": 1, "when": "2026-11-22T10:00:00", "kind": "x", "tags": [1, 2]},
        {"n": None, "when": None, "kind": "y", "tags": None},
    ]


def test_an_empty_dataframe_has_no_rows():
    with pytest.raises(DataError, match="DataFrame has a header and no rows"):
        read(pandas.DataFrame({"question": [], "answer": []}))
    with pytest.raises(DataError, match="DataFrame has no header"):
        read(pandas.DataFrame())


def test_a_column_that_is_there_twice_is_named():
    frame = pandas.DataFrame([["q", "a", "b"]], columns=["question", "answer", "answer"])
    with pytest.raises(DataError, match="DataFrame has the column 'answer' twice"):
        read(frame)


def test_a_cell_that_is_nested_too_deeply_is_refused():
    cell: list[object] = []
    cell.append(cell)
    with pytest.raises(DataError, match="nested more than 100 deep"):
        read(pandas.DataFrame({"question": ["q"], "answer": ["a"], "extra": [cell]}))


def test_something_else_is_nothing_to_read():
    with pytest.raises(DataError, match="a list is nothing to read; give a path or a DataFrame"):
        read([1])


# Round trips

ANY_TEXT = st.text(max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(ANY_TEXT, inner, max_size=2),
    max_leaves=4,
)
SHAPED = {
    "messages",
    "preferred_output",
    "non_preferred_output",
    "functions",
    "choices",
    "response",
    "object",
}
FIELDS = st.dictionaries(ANY_TEXT.filter(lambda key: key not in SHAPED), VALUES, max_size=2)
TURNS = st.lists(st.tuples(ANY_TEXT, ANY_TEXT), min_size=1, max_size=2)


def spoken(turns: list[tuple[str, str]]) -> list[dict[str, str]]:
    return [
        {"role": role, "content": text}
        for turn in turns
        for role, text in zip(("user", "assistant"), turn, strict=True)
    ]


@st.composite
def examples(draw):
    messages, fields = spoken(draw(TURNS)), draw(FIELDS)
    method = draw(st.sampled_from(["sft", "dpo", "rft"]))
    if method == "sft":
        return Example(tuple(messages), "a", fields)
    if method == "rft":
        return Example(tuple(messages[:-1]), "a", fields)
    outputs = {"preferred_output": messages[-1:], "non_preferred_output": spoken(draw(TURNS))[-1:]}
    tools = {"tools": [{"type": "function"}]} if draw(st.booleans()) else {}
    return Example(tuple(messages[:-1]), "a", {**tools, **outputs})


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(examples(), min_size=1, max_size=4))
def test_what_is_built_is_read_again(tmp_path, made):
    built = Dataset("a.jsonl", tuple(made))
    again = read(written(tmp_path, "a.jsonl", built.to_jsonl()))
    assert [(e.messages, e.more, e.method) for e in again] == [(e.messages, e.more, e.method) for e in built]
    assert again.to_jsonl() == built.to_jsonl()
    assert parse_jsonl(built.to_jsonl(), "a.jsonl").sha256 == built.sha256


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(made=st.lists(examples(), min_size=1, max_size=3), metadata=FIELDS)
def test_parquet_gives_equal_examples_again(tmp_path, made, metadata):
    built = tuple(Example(e.messages, f"faq.csv:{n}", e.more, metadata) for n, e in enumerate(made))
    again = read(Dataset("a", built).to_parquet(tmp_path / "a.parquet"))
    assert again.examples == built
    assert again.to_jsonl() == Dataset("a", built).to_jsonl()


def summary_of(dataset: Dataset) -> list[tuple[str, str, str]]:
    return [(example.question, example.answer, example.origin) for example in dataset]
