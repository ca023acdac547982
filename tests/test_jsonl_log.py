"""A file of lines that only grows: nothing written is lost, and half a line harms no other."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from workbench.errors import DataError, SetupError
from workbench.jsonl_log import append, locked, new_lines, objects, read_text


def test_lines_stand_in_the_order_in_which_they_were_written(tmp_path):
    path = tmp_path / "new" / "notes.jsonl"
    for line in (b"1", b'{"a": "\xc3\xa4"}', b"3"):
        append(path, line)
    assert path.read_bytes() == b'1\n{"a": "\xc3\xa4"}\n3\n'


def test_half_a_line_does_not_swallow_the_next(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b'1\n{"a": ')
    append(path, b"2")
    append(path, b"3")
    assert path.read_bytes() == b'1\n{"a": \n2\n3\n'


def test_many_threads_can_write_at_once(tmp_path):
    path = tmp_path / "notes.jsonl"
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: append(path, b"%d" % number), range(40)))
    assert sorted(map(int, path.read_bytes().splitlines())) == list(range(40))


def test_whoever_waits_too_long_is_told_for_what(tmp_path):
    lock = tmp_path / "notes.lock"
    with (
        locked(lock, "the notes"),
        pytest.raises(SetupError, match="Another kernel has been at work on the notes for 0 s"),
        locked(lock, "the notes", timeout=0),
    ):
        pass


def test_a_lock_is_free_again_after_an_error(tmp_path):
    lock = tmp_path / "notes.lock"
    with pytest.raises(ZeroDivisionError), locked(lock, "the notes"):
        raise ZeroDivisionError
    with locked(lock, "the notes", timeout=0):
        append(tmp_path / "other.jsonl", b"1")


def test_a_disk_that_refuses_is_a_sentence(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(SetupError, match=r"cannot be written: .*\. Free some space, or set WORKBENCH_HOME"):
        append(tmp_path / "file" / "notes.jsonl", b"1")


def test_objects_come_back_in_order_and_half_a_line_is_none(tmp_path):
    path = tmp_path / "new" / "said.jsonl"
    assert list(objects(path)) == []
    append(path, '{"said": "Köln\u2028"}'.encode())
    with path.open("ab") as file:
        file.write(b'["no object"]\n{"said": ')
    append(path, b'{"said": 3}')
    assert list(objects(path)) == [{"said": "Köln\u2028"}, {"said": 3}]


def test_only_whole_lines_behind_the_last_ones_read_are_new(tmp_path):
    path = tmp_path / "notes.jsonl"
    assert new_lines(path, 0) == ([], 0)
    path.write_bytes(b'1\n22\n{"half": ')
    assert new_lines(path, 0) == ([b"1", b"22"], 5)
    assert new_lines(path, 2) == ([b"22"], 5)


def test_a_file_begun_anew_is_read_from_its_start(tmp_path):
    path = tmp_path / "notes.jsonl"
    path.write_bytes(b"3\n")
    assert new_lines(path, 5) == ([b"3"], 2)
    path.unlink()
    assert new_lines(path, 2) == ([], 0)


def test_a_text_file_that_cannot_be_read_is_a_sentence(tmp_path):
    (tmp_path / "text.txt").write_bytes(b"\xef\xbb\xbfK\xc3\xb6ln")
    assert read_text(tmp_path / "text.txt") == "Köln"
    with pytest.raises(DataError, match=r"nowhere\.txt cannot be read: No such file or directory\.$"):
        read_text(tmp_path / "nowhere.txt")
    (tmp_path / "image.txt").write_bytes(b"\x89PNG")
    with pytest.raises(DataError, match=r"image\.txt is not UTF-8 text; save it as UTF-8\.$"):
        read_text(tmp_path / "image.txt")
