"""One line: what it holds, and everything that is wrong with it as JSON."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.dataset.check import row
from workbench.dataset.check.row import parsed
from workbench.dataset.check.rules import completed


def found(line):
    """Level, rule and path of everything that is wrong with a line."""
    return [completed(finding)[:3] for finding in parsed(line)[1]]


def message(line):
    [finding] = parsed(line)[1]
    return f"{finding.path}: {finding.message}; {finding.fix}"


def test_a_sound_line_is_read_and_has_no_findings():
    line = '{"messages": [{"role": "user", "content": "Wo? \\"hier\\": \\\\ \\n 😀"}]}\r\n'.encode()
    assert parsed(line) == ({"messages": [{"role": "user", "content": 'Wo? "hier": \\ \n 😀'}]}, [])


@pytest.mark.parametrize(
    ("line", "place", "words"),
    [
        (b'{"a": 1,}', "character 9", "a comma stands in front of the closing bracket"),
        (b'{"a": [1,]}', "character 10", "a comma stands in front of the closing bracket"),
        (b"{'a': 1}", "character 2", "single quotes, as in Python"),
        (b'{"a": None}', "character 7", "this is Python, not JSON"),
        (b'{"a": True}', "character 7", "this is Python, not JSON"),
        (b"{a: 1}", "character 2", "a key stands without quotation marks"),
        (b'{"a": 1} {"a": 2}', "character 10", "several objects stand in one line"),
        (b'{"a": 1},', "character 9", "something follows behind the object"),
        (b'{"a": 1} // so', "character 10", "a comment stands in the line"),
        (b'{"a": }', "character 7", "the value is missing"),
        (b'{"a": 1,, "b": 2}', "character 9", "two commas follow each other"),
        (b'{"a": "x', "character 7", "a text is opened here and never closed"),
        (b'{"a": 1', "character 8", "the line ends in the middle of an object"),
        (b'{"a": "say "hi" now"}', "character 13", "a text ends too early, or a comma is missing"),
        (rb'{"a": "C:\Users"}', "character 10", "a backslash stands in front of a letter"),
        (b'{"a": 01}', "character 8", "'1}' is not what JSON expects here"),
        (b"hello", "", "it does not begin with a brace"),
        (b"   ", "", "the line is empty"),
    ],
)
def test_what_is_no_json_is_told_with_place_and_cause(line, place, words):
    value, [finding] = parsed(line)
    assert value is None
    assert completed(finding)[:3] == ("error", "json", place)
    assert words in finding.message


@pytest.mark.parametrize("line", [b"[", b"{", b"},", b'"messages": [', b'  "role": "user",', b'{"a": 1,'])
def test_a_line_of_a_pretty_printed_file_points_to_build(line):
    assert message(line) == (
        ": the line holds a part of an object; each example must stand on one line; "
        "convert the file with `python -m workbench build`"
    )


@pytest.mark.parametrize(
    ("line", "kind"),
    [(b"[]", "a list"), (b"3", "a number"), (b'"x"', "a text"), (b"null", "null"), (b"true", "true")],
)
def test_a_line_holds_an_object(line, kind):
    assert found(line) == [("error", "object", "")]
    assert f"the line holds {kind} where an object should be" in message(line)
    assert found(b"{}") == []


def test_numbers_that_are_not_finite_are_told_with_their_path_and_become_null():
    value, findings = parsed(b'{"a": NaN, "b": [1e999, {"c": -Infinity}, 1e300]}')
    assert value == {"a": None, "b": [None, {"c": None}, 1e300]}
    assert [(f.rule, f.path) for f in findings] == [
        ("not_finite", "a"),
        ("not_finite", "b[0]"),
        ("not_finite", "b[1].c"),
    ]


def test_a_number_of_thousands_of_digits_is_told():
    assert found(b'{"a": ' + b"1" * 5_000 + b"}") == [("error", "not_finite", "")]
    assert found(b'{"a": ' + b"1" * 300 + b"}") == []


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": {"b": 1, "c": 2, "b": 3}}',
        b'{"a": {"b" : 1, "b"\t: 3}}',
        b'{"a": {"b": "\\": \\\\", "b": 3}}',
        rb'{"a": {"b": 1, "\u0062": 3}}',
    ],
)
def test_a_key_that_stands_twice_is_told_with_its_path(line):
    assert found(line) == [("warning", "duplicate_key", "a.b")]
    assert parsed(line)[0]["a"]["b"] == 3


@pytest.mark.parametrize(
    "line",
    [
        b'{"a": {"b": 1}, "b": 1}',
        b'{"a": "{\\"b\\": 1, \\"b\\": 2}"}',
        b'{"a" : ": \\\\", "b" :" :"}',
        b'{"a": [{"b": 1}, {"b": 2}]}',
    ],
)
def test_equal_keys_of_different_objects_and_colons_in_texts_are_no_repetition(line):
    assert found(line) == []


def test_half_a_surrogate_pair_is_told_with_its_path_and_replaced():
    value, findings = parsed(rb'{"a": ["\ud800 x", "\ud83d\ude00"], "\udc00": 1}')
    assert value == {"a": ["\ufffd x", "😀"], "\ufffd": 1}
    assert [(f.rule, f.path) for f in findings] == [("surrogate", "a[0]"), ("surrogate", "")]


def test_nul_bytes_are_told_and_the_rest_is_read():
    assert parsed(b'{"a": "x\0y"}')[0] == {"a": "xy"}
    assert found(b'{"a": "x\0y"}') == [("error", "control", "")]
    assert found('{"a": 1}'.encode("utf-16-le")) == [("error", "control", "")]


def test_an_unescaped_control_character_is_told_with_its_position():
    assert found(b'\t{"a": "x\ty"}') == [("error", "control", "character 10")]
    assert parsed(b'{"a": "x\ty"}')[0] == {"a": "x\ty"}
    assert found(b'{"a":\t"x\\ty"}') == []


@pytest.mark.parametrize("escape", [r"\u0000", r"\b", r"\f", r"\u001F"])
def test_an_escaped_control_character_deserves_a_look(escape):
    assert found(b'{"a": ["' + escape.encode() + b'"]}') == [("warning", "control", "a[0]")]
    assert found(b'{"a": ["\\' + escape.encode() + b'"]}') == []
    assert found(rb'{"a": "\n\t\r\u000a\u00e9"}') == []


def test_a_byte_that_is_not_utf_8_is_told_and_read_as_windows_1252():
    value, [finding] = parsed(b'{"a": "caf\xe9 \x80"}')
    assert value == {"a": "café €"}
    assert finding.path == "character 11"
    assert finding.message == "the byte 0xE9 is not UTF-8"


def test_a_byte_order_mark_within_a_file_is_told_and_passed_over():
    assert parsed(b'\xef\xbb\xbf{"a": 1}')[0] == {"a": 1}
    assert found(b'\xef\xbb\xbf{"a": 1}') == [("error", "encoding", "character 1")]


def test_several_faults_of_one_line_are_told_at_once():
    line = b'\xef\xbb\xbf{"a": "\xe9\0", "a": NaN, "b": "\\ud800\t"}'
    assert [rule for _, rule, _ in found(line)] == [
        "control",
        "encoding",
        "encoding",
        "control",
        "duplicate_key",
        "not_finite",
        "surrogate",
    ]


def test_a_hundred_levels_are_read_and_one_more_is_told():
    def nested(levels):
        return b'{"a":' + b"[" * (levels - 1) + b"]" * (levels - 1) + b"}"

    assert found(nested(100)) == []
    assert found(nested(101)) == [("error", "depth", "")]
    assert parsed(nested(101))[0] is None
    assert found(b'{"a": "' + b"[" * 200 + b'"}') == []


@pytest.mark.parametrize(
    "line", [b"[" * 1_000_000, b'{"a":' * 10_000, b"[" * 10_000 + b"]" * 10_000, b'[{"a":' * 500 + b"NaN"]
)
def test_no_depth_is_too_much(line):
    assert ("error", "depth", "") in found(line)


def test_a_line_longer_than_the_limit_is_told(monkeypatch):
    monkeypatch.setattr(row, "LONGEST", 2_000_000)
    assert found(b'{"a": "' + b"x" * 1_999_991 + b'"}') == []
    assert found(b'{"a": "' + b"x" * 1_999_992 + b'"}') == [("error", "long_line", "")]


def test_a_line_of_millions_of_values_is_not_unfolded(monkeypatch):
    monkeypatch.setattr(row, "MOST_VALUES", 300_000)
    assert found(b'{"a": [' + b"[]," * 400_000 + b"[]]}") == [("error", "long_line", "")]
    assert found(b'{"a": "' + b"x,," * 400_000 + b'"}') == []


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=12,
)


@given(st.binary(max_size=200))
def test_no_bytes_raise(line):
    value, findings = parsed(line)
    assert findings or json.loads(line) == value


@given(json_values)
def test_what_json_can_hold_comes_back_as_it_was(value):
    line = json.dumps(value).encode()
    read, findings = parsed(line)
    assert [f for f in findings if f.rule == "json"] == []
    if not findings:
        assert read == json.loads(line)


@given(
    st.lists(st.tuples(st.sampled_from(['"a"', '"b"', '"\\":"']), st.sampled_from(["1", '":"', '{"a" :2}']))),
    st.sampled_from(["", " ", "\t", " \t "]),
)
def test_repeated_keys_are_found_exactly(pairs, gap):
    line = "{" + ",".join(f"{key}{gap}:{gap}{value}" for key, value in pairs) + "}"
    repeats = len({key for key, _ in pairs}) < len(pairs)
    assert any(f.rule == "duplicate_key" for f in parsed(line.encode())[1]) == repeats


@given(json_values, st.data())
def test_a_line_is_accepted_exactly_when_json_accepts_it(value, data):
    line = json.dumps(value)
    at = data.draw(st.integers(0, len(line)))
    mutated = line[:at] + data.draw(st.sampled_from(["", ",", '"', "\\", "]", "0", " "])) + line[at + 1 :]
    try:
        json.loads(mutated)
    except ValueError:
        assert any(completed(f).level == "error" for f in parsed(mutated.encode())[1])
    else:
        assert not any(f.rule == "json" for f in parsed(mutated.encode())[1])
