"""Checking files: cut anywhere, in any encoding, with lines too long to hold, and while they change."""

import codecs
import gzip
import json
import os
import tracemalloc
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor

import pytest

from workbench.dataset.check import row, sources
from workbench.dataset.check.check import ThisProcess, check, executor_for, first_rows
from workbench.dataset.check.sources import DatasetSource, FileSource, Scanned, source_of
from workbench.dataset.dataset import Dataset, Example
from workbench.dataset.json_text import require_utf_8
from workbench.errors import DataError, SetupError


def chat(question, answer="An answer."):
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return json.dumps({"messages": turns}, ensure_ascii=False)


def numbers(source):
    return [row.number for piece in source.pieces() for row in piece.rows(Scanned(()))]


def formal(path, **options):
    return check(path, only=("format",), method="sft", **options)


def told(report):
    return [(p.level, p.rule, p.line, p.path) for p in report.problems if p.rule not in ("too_few", "few")]


@pytest.fixture
def hundred(tmp_path):
    path = tmp_path / "hundred.jsonl"
    path.write_text("".join(chat(f"Question {n}?") + "\n" for n in range(1, 101)), encoding="utf-8")
    return path


@pytest.mark.parametrize("piece", [1, 100, 777, 5_000, 10**6])
def test_a_file_is_cut_at_its_line_ends(hundred, piece, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", piece)
    source = FileSource(hundred)
    assert numbers(source) == list(range(1, 101))
    assert sum(part.bytes for part in source.pieces()) == hundred.stat().st_size


@pytest.mark.parametrize("piece", [1, 777, 10**6])
def test_any_row_can_be_had_again(hundred, piece, monkeypatch):
    monkeypatch.setattr(sources, "_BLOCK", 500)
    monkeypatch.setattr(sources, "PIECE", piece)
    source = FileSource(hundred)
    list(source.pieces())
    asked = [source.row(number).asked for number in (100, 1, 57)]
    assert asked == ["Question 100?", "Question 1?", "Question 57?"]
    assert source.origin(57) == "hundred.jsonl:57"


def test_blank_lines_count_as_lines_and_hold_nothing(tmp_path):
    path = tmp_path / "gaps.jsonl"
    path.write_bytes(b"\n\r\n" + chat("Hi?").encode() + b"\r\n   \n" + chat("Ho?").encode())
    assert numbers(FileSource(path)) == [3, 5]
    assert told(formal(path)) == [("info", "line_ends", None, "")]


def test_a_byte_order_mark_at_the_beginning_is_passed_over(tmp_path):
    path = tmp_path / "mark.jsonl"
    path.write_text(chat("Hi?") + "\n" + chat("Ho?"), encoding="utf-8-sig")
    source = FileSource(path)
    assert numbers(source) == [1, 2]
    assert (source.row(1).asked, source.notes) == ("Hi?", ())


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"])
def test_wide_encodings_are_told_once_and_read_all_the_same(tmp_path, encoding):
    path = tmp_path / "wide.jsonl"
    path.write_text((chat("Größe 😀?") + "\n") * 20, encoding=encoding)
    report = formal(path)
    assert told(report) == [("error", "encoding", None, "")]
    assert report.examples == 20
    assert FileSource(path).row(20).asked == "Größe 😀?"


def test_an_old_encoding_is_told_once_and_read_all_the_same(tmp_path):
    path = tmp_path / "old.jsonl"
    texts = ("Où est la clé de la boîte?", "Quel âge a le château?", "Ça va, François?", "Déjà terminé?")
    path.write_text("".join(chat(text) + "\n" for text in texts * 5), encoding="cp1252")
    report = formal(path)
    assert told(report) == [("error", "encoding", None, "")]
    assert "Windows-1252" in report.errors[0].message
    assert FileSource(path).row(2).asked == "Quel âge a le château?"


def test_an_encoding_in_which_bytes_look_like_backslashes_is_read(tmp_path):
    path = tmp_path / "japan.jsonl"
    text = "表示されるソフトの機能を説明してください。能力と予算の表も見せてください。"
    path.write_text((chat(text) + "\n") * 20, encoding="shift_jis")
    assert told(formal(path)) == [("error", "encoding", None, "")]


def test_mixed_encodings_are_told_line_by_line(tmp_path):
    path = tmp_path / "mixed.jsonl"
    lines = [chat(f"Größe {n}?").encode() for n in range(20)]
    lines[6] = lines[6].decode().encode("cp1252")
    path.write_bytes(b"\n".join(lines))
    assert told(formal(path)) == [("error", "encoding", 7, "character 46")]


@pytest.mark.parametrize("byte", [b"\xe9", b"\xff", b"\xc3"])
def test_one_broken_byte_is_told_at_its_line_and_the_file_is_utf_8(tmp_path, byte):
    path = tmp_path / "one.jsonl"
    lines = [chat(f"Question {n}?").encode() for n in range(12)]
    lines[6] = lines[6].replace(b"Q", byte)
    path.write_bytes(b"\n".join(lines))
    report = formal(path)
    assert told(report) == [("error", "encoding", 7, "character 44")]
    assert report.errors[0].message == f"the byte 0x{byte[0]:02X} is not UTF-8"


@pytest.mark.parametrize("mark", [b"", codecs.BOM_UTF8])
@pytest.mark.parametrize(
    "change",
    [
        lambda text: text.encode("utf-16"),
        lambda text: text.encode("utf-16-le"),
        lambda text: text.encode().replace(b"9", b"\xfc"),
        lambda text: text.encode().replace("ö9".encode(), b"\xc3"),
        lambda text: text.replace("ö", "é").encode("cp1252"),
        lambda text: text.encode() + "ö".encode()[:1],
    ],
)
def test_a_service_refuses_an_encoding_in_the_words_of_the_check(tmp_path, change, mark):
    path = tmp_path / "words.jsonl"
    content = change("".join(chat(f"Größe ö{n}?") + "\n" for n in range(12)))
    path.write_bytes(mark + content)
    first = next(problem for problem in formal(path).problems if problem.rule == "encoding")
    with open(path, "rb") as file, pytest.raises(DataError) as caught:
        require_utf_8(file, "words.jsonl")
    assert f"error: {caught.value}" == str(first)


def test_windows_line_ends_are_information_and_no_error(tmp_path):
    path = tmp_path / "windows.jsonl"
    path.write_bytes(b"".join(chat(f"Question {n}?").encode() + b"\r\n" for n in range(12)))
    assert told(formal(path)) == [("info", "line_ends", None, "")]
    with open(path, "rb") as file:
        require_utf_8(file, path.name)


def test_the_temporary_copy_goes_with_its_source(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    path = tmp_path / "wide.jsonl"
    path.write_text(chat("Hi?"), encoding="utf-16")
    source = FileSource(path)
    assert len(list(tmp_path.iterdir())) == 2
    del source
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", gzip.compress(b"{}", mtime=0), "is a gzip archive by its first bytes; unpack it"),
        ("a.jsonl", b"PK\x03\x04....", "is a ZIP or Excel file by its first bytes"),
        ("a.jsonl", bytes(range(256)) * 20, "a.jsonl is not a text file"),
        ("a.jsonl", bytes(1_000), "a.jsonl is not a text file"),
    ],
)
def test_what_is_no_text_is_refused(tmp_path, name, content, words):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        check(tmp_path / name)


def test_what_cannot_be_opened_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"none\.jsonl does not exist \(looked in "):
        check(tmp_path / "none.jsonl")
    with pytest.raises(DataError, match="is a folder; name a file in it"):
        check(tmp_path)
    with pytest.raises(DataError, match="cannot be read"):
        check("a\0b.jsonl")
    os.mkfifo(tmp_path / "pipe.jsonl")
    with pytest.raises(DataError, match="is no plain file"):
        check(tmp_path / "pipe.jsonl")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_without_permission_is_refused(hundred):
    hundred.chmod(0)
    with pytest.raises(DataError, match="cannot be read: Permission denied"):
        check(hundred)


@pytest.mark.parametrize("content", [b"", b"\n\n", b"\xef\xbb\xbf"])
def test_an_empty_file_has_too_few_examples(tmp_path, content):
    path = tmp_path / "empty.jsonl"
    path.write_bytes(content)
    report = formal(path)
    assert [(p.level, p.rule, p.line) for p in report.problems] == [("error", "too_few", None)]
    assert report.examples == 0


class Growing(Executor):
    """Writes to the file while it is checked."""

    def __init__(self, path, change):
        self.path, self.change = path, change

    def submit(self, fn, /, *args):
        future = Future()
        future.set_result(fn(*args))
        self.change(self.path)
        return future


def appended(path):
    with open(path, "a", encoding="utf-8") as file:
        file.write(chat("One more?") + "\n")


@pytest.mark.parametrize("change", [appended, lambda path: os.utime(path, ns=(1, 1))])
def test_a_file_that_changes_meanwhile_is_refused(hundred, change):
    with pytest.raises(DataError, match="changed while it was checked; check it again when nothing writes"):
        formal(hundred, executor=Growing(hundred, change))


def test_a_file_that_shrinks_meanwhile_is_refused(hundred, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 1_000)
    source = FileSource(hundred)
    pieces = list(source.pieces())
    os.truncate(hundred, 500)
    with pytest.raises(DataError, match="changed while it was checked"):
        list(pieces[-1].rows(Scanned(())))
    with pytest.raises(DataError, match="changed while it was checked"):
        source.row(99)


def test_a_line_that_is_too_long_is_told_and_passed_over_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(sources, "LONGEST", 2**20)
    monkeypatch.setattr(row, "LONGEST", 2**20)
    path = tmp_path / "long.jsonl"
    with open(path, "w", encoding="utf-8") as file:
        file.write(chat("Before?") + "\n" + '{"messages": "')
        for _ in range(50):
            file.write("x" * 2**20)
        file.write('"}\n' + chat("Behind?"))
    tracemalloc.start()
    try:
        report = formal(path, executor=ThisProcess())
        assert tracemalloc.get_traced_memory()[1] < 10 * 2**20
    finally:
        tracemalloc.stop()
    assert told(report) == [("error", "long_line", 2, "")]
    assert report.examples == 2


def test_two_hundred_thousand_errors_are_grouped_and_all_listed(tmp_path):
    path = tmp_path / "errors.jsonl"
    path.write_bytes(b'{"messages": []}\n' * 200_000)
    report = formal(path)
    assert report.examples == 200_000
    assert len(report.groups) < 10
    assert report.counts["error"] >= 200_000
    assert sum(piece.count('"line": ') for piece in report.to_json()) >= 200_000


def test_every_line_of_a_pretty_printed_file_says_the_same(tmp_path):
    path = tmp_path / "pretty.jsonl"
    path.write_text(json.dumps([json.loads(chat("Hi?"))] * 20, indent=2), encoding="utf-8")
    kinds = {(p.rule, p.fix) for p in formal(path).errors if p.rule == "json"}
    assert kinds == {("json", "convert the file with `python -m workbench build`")}


def test_other_kinds_of_files_go_through_read(tmp_path):
    path = tmp_path / "faq.csv"
    path.write_text("question,answer\nWhere?,Here.\nWhen?,\n", encoding="utf-8")
    report = formal(path)
    assert [(p.rule, p.origin) for p in report.errors if p.rule != "too_few"] == [("empty", "faq.csv:3")]
    assert isinstance(source_of(path), DatasetSource)


def test_the_rows_of_a_dataset_keep_the_files_they_came_from():
    silent = [{"role": "user", "content": "Hi?"}, {"role": "assistant", "content": ""}]
    origins = ("a.csv:2", "b.csv:7", "b.csv:3", "noted by hand")
    data = Dataset("both", tuple(Example(tuple(silent), origin) for origin in origins))
    report = formal(data)
    assert [(p.file, p.line) for p in report.of("empty")] == [
        ("noted by hand", None),
        ("a.csv", 2),
        ("b.csv", 3),
        ("b.csv", 7),
    ]
    assert report.bad - {"both"} == set(origins)


def test_a_dataset_is_judged_like_its_file(tmp_path):
    odd = {"role": "user", "content": "half \ud800 a pair", "weight": float("nan")}
    data = Dataset("odd", (Example((odd, {"role": "assistant", "content": "Yes."}), "odd:1"),))
    path = tmp_path / "odd"
    path.write_bytes(data.to_jsonl())
    assert told(formal(data)) == told(formal(path))
    assert ("error", "surrogate", 1, "messages[0].content") in told(formal(data))


@pytest.mark.parametrize("value", [{1}, object(), 1j, b"bytes"])
def test_an_example_that_is_no_json_is_told(value):
    data = Dataset("odd", (Example(({"role": "user", "content": value},), "odd:1"),))
    assert ("error", "object", 1, "") in told(formal(data))


def test_an_example_nested_without_end_is_told():
    deep = []
    for _ in range(10_000):
        deep = [deep]
    data = Dataset("odd", (Example(({"role": "user", "content": deep},), "odd:1"),))
    assert ("error", "depth", 1, "") in told(formal(data))


def test_small_files_are_checked_in_this_process_and_large_ones_on_all_cores(hundred, monkeypatch):
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    with executor_for([FileSource(hundred)], None) as where:
        assert type(where).__name__ == "ThisProcess"
    monkeypatch.setattr("workbench.dataset.check.check.SMALL", 100)
    with executor_for([FileSource(hundred)], None) as where:
        assert type(where).__name__ == "ProcessPoolExecutor"


class Broken(ThreadPoolExecutor):
    def submit(self, fn, /, *args):
        raise BrokenExecutor


def test_a_process_that_dies_is_told_with_the_usual_causes(hundred):
    with Broken(1) as where, pytest.raises(SetupError, match='without `if __name__ == "__main__":`'):
        formal(hundred, executor=where)


def test_only_the_first_rows_are_read_to_guess_a_method(tmp_path):
    path = tmp_path / "many.jsonl"
    path.write_text((chat("Hi?") + "\n") * 50, encoding="utf-8")
    assert [row.number for row in first_rows(FileSource(path), 3)] == [1, 2, 3]


def test_an_interrupt_calls_off_what_is_under_way(hundred, monkeypatch):
    monkeypatch.setattr(sources, "PIECE", 1_000)
    waiting = []

    class Interrupted(Executor):
        def submit(self, fn, /, *args):
            if len(waiting) == 3:
                raise KeyboardInterrupt
            waiting.append(Future())
            return waiting[-1]

    with pytest.raises(KeyboardInterrupt):
        formal(hundred, executor=Interrupted())
    assert [future.cancelled() for future in waiting] == [True, True, True]
