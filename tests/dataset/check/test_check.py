"""``check``: every aspect and every file at once, and no content that makes it raise."""

import json
import pickle
from dataclasses import dataclass

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from workbench.dataset.check import sources
from workbench.dataset.check.check import check
from workbench.dataset.check.counts import Counts, no_validation, sizes
from workbench.dataset.check.row import Row
from workbench.dataset.dataset import Dataset, Example
from workbench.errors import DataError, SetupError

SENTENCES = (
    "Please open the settings, choose your printer and press the button that says restart.",
    "An invoice is sent on the first working day of the month to the address in your account.",
    "You can return a parcel within thirty days when the seal on the box has not been broken.",
    "Our shop in the old town is open from nine to six, and on Saturdays until two o'clock.",
)


def example(question, answer, origin, **more):
    turns = ({"role": "user", "content": question}, {"role": "assistant", "content": answer})
    return Example(turns, origin, more)


def data(*questions, name="faq.jsonl"):
    """A dataset in which each question has an answer of its own."""
    examples = (
        example(question, f"{SENTENCES[n % 4]} This is reply {n}.", f"{name}:{n}")
        for n, question in enumerate(questions, 1)
    )
    return Dataset(name, tuple(examples))


QUESTIONS = (
    "Why does the printer stop?",
    "When will I get an invoice?",
    "May I send a parcel back?",
    "Are you open on Sundays?",
    "I forgot my password. What now?",
    "How long does a guarantee last?",
    "Who pays for the way home?",
    "Do you deliver to Norway?",
    "Is there a card to give away?",
    "Stop sending me letters!",
    "My screen fell from the table.",
    "Where can I buy a new cable?",
)
SOUND = data(*QUESTIONS)


def rules(report):
    return {problem.rule for problem in report.problems}


def test_a_sound_dataset_has_no_errors_and_is_counted():
    report = check(SOUND)
    assert report.ok
    assert (report.examples, report.method, report.model) == (12, "sft", None)
    assert report.files[0].bytes == len(SOUND.to_jsonl())


def test_tokens_are_counted_as_the_newest_models_do_when_none_is_named():
    [facts] = check(data("Hello"), only=("tokens",)).files
    # By tiktoken 0.14: 1 for "Hello" and 25 for the answer; OpenAI's cookbook adds 4 a message, and 3.
    assert facts.tokens == 1 + 25 + 2 * 4 + 3
    assert "o200k_base" in facts.counted_by


def test_all_aspects_are_looked_at_at_once():
    faulty = example("Who?", "", "faq.jsonl:13")
    private = example("Whose number is it?", "Write to anna.schmidt@contoso.com, please.", "faq.jsonl:14")
    refusing = [
        example(f"Why, number {n}?", "I'm sorry, but I can't help with that.", f"r:{n}") for n in range(3)
    ]
    again = SOUND.examples[:1]
    report = check(Dataset("faq.jsonl", (*SOUND, faulty, private, *refusing, *again)))
    assert {"empty", "pii", "refusal", "duplicate", "few"} <= rules(report)


def test_one_aspect_alone_tells_nothing_of_the_others():
    private = data("Is it anna.schmidt@contoso.com?", "Is it anna.schmidt@contoso.com?", "")
    assert rules(check(private, only=("format",))) == {"too_few", "empty"}
    assert rules(check(private, only=("privacy",))) == {"pii"}
    assert check(private, only=("format",)).tokens is None


@pytest.mark.parametrize(
    ("role", "level"),
    [("validation", "error"), ("test", "error"), ("shots", "info"), ("corpus", "warning")],
)
def test_what_other_files_share_with_training_is_told_at_the_training_row(role, level):
    other = data("Something else altogether, is it not?", SOUND[4].question, name="other.jsonl")
    report = check(SOUND, only=("repeats",), **{role: other})
    assert [(p.level, p.origin) for p in report.of("overlap")] == [(level, "faq.jsonl:5")]
    assert [file.examples for file in report.files] == [12, 2]


def test_a_corpus_may_be_plain_texts():
    report = check(SOUND, only=("repeats",), corpus=["Some text.", SOUND[4].question])
    assert [p.origin for p in report.of("overlap")] == ["faq.jsonl:5"]


def test_a_corpus_may_be_a_text_file_in_paragraphs(tmp_path):
    path = tmp_path / "manual.md"
    path.write_text(f"# Manual\n\nSome text.\n \n{SOUND[4].question}\n", encoding="utf-8")
    [problem] = check(SOUND, only=("repeats",), corpus=path).of("overlap")
    assert problem.origin == "faq.jsonl:5"
    assert "manual.md:3" in problem.message


def test_files_of_the_same_name_are_told_apart_by_their_paths(tmp_path):
    paths = [tmp_path / folder / "chats.jsonl" for folder in ("training", "validation")]
    for path in paths:
        path.parent.mkdir()
        path.write_text("nothing", encoding="utf-8")
    report = check(paths[0], validation=paths[1], method="sft", only=("format",))
    assert [problem.file for problem in report.of("json")] == [str(path) for path in paths]


def test_the_form_of_a_test_is_judged_and_its_repeats_are_not():
    other = data("", "Why so?", "Why so?", name="test.jsonl")
    twice = Dataset("test.jsonl", (*other, other[2]))
    report = check(SOUND, test=twice, only=("format", "repeats"))
    assert [(p.rule, p.origin) for p in report.problems if p.file == "test.jsonl"] == [
        ("empty", "test.jsonl:1")
    ]


def preference(n):
    answers = ([{"role": "assistant", "content": text}] for text in ("Yes, gladly.", "No."))
    turns = ({"role": "user", "content": f"Is number {n} free?"},)
    return Example(
        turns, f"dpo:{n}", dict(zip(("preferred_output", "non_preferred_output"), answers, strict=True))
    )


PAIRS = Dataset("pairs.jsonl", tuple(preference(n) for n in range(10)))
PROMPTS = Dataset(
    "prompts.jsonl",
    tuple(
        Example(({"role": "user", "content": f"What is {n} + 1?"},), f"rft:{n}", {"sum": n})
        for n in range(10)
    ),
)


@pytest.mark.parametrize(("rows", "method"), [(SOUND, "sft"), (PAIRS, "dpo"), (PROMPTS, "rft")])
def test_the_method_is_guessed_from_the_rows_and_said(rows, method):
    report = check(rows, only=("format",))
    assert report.method == method
    assert [p.level for p in report.of("method")] == ([] if method == "sft" else ["info"])
    assert check(rows, only=("format",), method=method).of("method") == ()


def test_another_method_than_that_of_the_rows_is_an_error():
    assert not check(PAIRS, method="sft", only=("format",)).ok


def test_a_grader_is_resolved_against_every_row():
    grader = {
        "type": "string_check",
        "name": "sum",
        "input": "{{sample.output_text}}",
        "reference": "{{item.total}}",
        "operation": "eq",
    }
    report = check(PROMPTS, grader=grader, only=("format",))
    assert report.method == "rft"
    assert len(report.of("template")) == 10
    assert [p.level for p in report.of("no_validation")] == ["error"]
    right = {**grader, "reference": "{{item.sum}}"}
    assert check(PROMPTS, grader=right, validation=PROMPTS, only=("format",)).of("template") == ()


def test_what_is_asked_for_must_exist():
    with pytest.raises(DataError, match="There is no aspect 'form'; choose from format, tokens"):
        check(SOUND, only=("form",))
    with pytest.raises(DataError, match="There is no method 'ppo'"):
        check(SOUND, method="ppo")
    with pytest.raises(SetupError, match="gpt-nonsense"):
        check(SOUND, model="gpt-nonsense", only=("tokens",))


LINE = json.dumps(
    {
        "messages": [
            {"role": "system", "content": "Be kind."},
            {"role": "user", "content": [{"type": "text", "text": "Hi?"}]},
            {
                "role": "assistant",
                "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "look", "arguments": "{}"}}
                ],
            },
            {"role": "tool", "tool_call_id": "a", "content": "12"},
            {"role": "assistant", "content": "It is 12.", "weight": 1},
        ],
        "tools": [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}],
    }
)
LINES = (
    LINE,
    *(row.decode() for rows in (SOUND, PAIRS, PROMPTS) for row in rows.to_jsonl().splitlines()[:1]),
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                ("messages", "role", "content", "tools", "input", "preferred_output", "weight", "type")
            )
            | st.text(max_size=3),
            inner,
            max_size=4,
        )
    ),
    max_leaves=10,
)


@st.composite
def mutated(draw):
    """A sound line in which any value stands in the place of any other."""
    value = json.loads(draw(st.sampled_from(LINES)))
    here = value
    while True:
        places = list(here) if isinstance(here, dict) else list(range(len(here)))
        place = draw(st.sampled_from(places))
        if not isinstance(here[place], dict | list) or not here[place] or draw(st.booleans()):
            here[place] = draw(json_values)
            return value
        here = here[place]


few = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def checked(tmp_path, content, method):
    path, other = tmp_path / "any.jsonl", tmp_path / "other.jsonl"
    path.write_bytes(content)
    other.write_bytes(content)
    refusal = ""
    try:
        report = check(path, validation=other, method=method)
    except DataError as error:
        refusal = str(error)
    if refusal:
        return refusal.startswith("any.jsonl is ")  # not a text file, or a ZIP file by its first bytes
    told = json.loads("".join(report.to_json()))
    shown = repr(report).startswith("any.jsonl: ") and "any.jsonl" in report._repr_html_()
    return shown and sum(told["counts"].values()) == len(told["problems"])


@few
@given(st.binary(max_size=300), st.sampled_from([None, "sft", "dpo", "rft"]))
def test_no_bytes_make_check_raise(tmp_path, content, method):
    assert checked(tmp_path, content, method)


@few
@given(st.lists(json_values, max_size=5), st.sampled_from([None, "sft", "dpo", "rft"]))
def test_no_json_makes_check_raise(tmp_path, values, method):
    assert checked(tmp_path, "\n".join(map(json.dumps, values)).encode(), method)


@few
@given(st.lists(mutated(), min_size=1, max_size=5), st.sampled_from([None, "sft", "dpo", "rft"]))
def test_no_wrong_value_anywhere_makes_check_raise(tmp_path, values, method):
    assert checked(tmp_path, "\n".join(map(json.dumps, values)).encode(), method)


@few
@given(st.sampled_from(LINES), st.data(), st.sampled_from([None, "sft", "dpo", "rft"]))
def test_no_damaged_line_makes_check_raise(tmp_path, line, draw, method):
    at = draw.draw(st.integers(0, len(line)))
    piece = draw.draw(st.binary(max_size=3))
    assert checked(tmp_path, line[:at].encode() + piece + line[at + 1 :].encode(), method)


@few
@given(st.lists(mutated(), max_size=4))
def test_no_dataset_makes_check_raise(values):
    examples = (
        Example(
            tuple(v.get("messages") or ()) if isinstance(v.get("messages"), list) else (),
            f"x:{n}",
            {k: part for k, part in v.items() if k != "messages"},
        )
        for n, v in enumerate(values)
    )
    report = check(Dataset("x", tuple(examples)))
    assert report.examples <= len(values)


def test_a_response_format_is_looked_at_too():
    bare = {"type": "object", "properties": {"total": {"type": "number"}}}
    whole = {"type": "json_schema", "json_schema": {"name": "bill", "strict": True, "schema": bare}}
    only = ("format",)
    assert check(PROMPTS, method="rft", response_format=bare, only=only).of("response_format")
    assert not check(PROMPTS, method="rft", response_format=whole, only=only).of("response_format")


# The rules of numbers: examples, images, bytes.

MB = 1024**2
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.org/c.png"}}
PLAIN = {"messages": [{"role": "user", "content": "q"}]}
SEEN = {"messages": [{"role": "user", "content": [IMAGE]}]}


@dataclass
class Faq:
    """A source of no rows, because numbers need none."""

    name: str = "faq.jsonl"

    def origin(self, number: int) -> str:
        return f"{self.name}:{number}"

    def row(self, number: int) -> Row:
        raise LookupError(number)


def counted(number: int, method: str = "sft", role: str = "training", value: object = PLAIN) -> Counts:
    counts = Counts(method, role)
    counts.add([Row(n, value) for n in range(number)])
    return counts


def found(counts: Counts) -> list[tuple[str, str]]:
    return [(finding.level, finding.rule) for finding, _ in counts.found(Faq())]


TOO_FEW, FEW, START = ("error", "too_few"), ("warning", "few"), ("info", "few")


@pytest.mark.parametrize(
    ("number", "findings"),
    [(0, [TOO_FEW]), (9, [TOO_FEW]), (10, [FEW]), (49, [FEW]), (50, [START]), (499, [START]), (500, [])],
)
@pytest.mark.parametrize("method", ["sft", "dpo"])
def test_there_must_be_enough_examples(method, number, findings):
    assert found(counted(number, method)) == findings


@pytest.mark.parametrize(
    ("number", "findings"),
    [(9, [TOO_FEW]), (10, [FEW]), (50, [START]), (199, [START]), (200, []), (2_000, []), (2_001, [START])],
)
def test_prompts_for_reinforcement_are_some_hundreds(number, findings):
    assert found(counted(number, "rft")) == findings


def test_a_finding_names_the_number():
    ((finding, numbers),) = counted(9).found(Faq())
    assert (finding.path, list(numbers)) == ("", [])
    assert finding.message == "9 examples, and a job needs at least 10"
    ((finding, _),) = counted(1, "dpo").found(Faq())
    assert (finding.message, finding.fix) == ("1 pair, and a job needs at least 10", "add pairs")


def test_only_reinforcement_needs_so_many_for_validation():
    assert found(counted(9, "rft", "validation")) == [("error", "too_few")]
    assert found(counted(10, "rft", "validation")) == []
    assert found(counted(1, "sft", "validation")) == []
    assert found(counted(1, "rft", "test")) == []


def test_reinforcement_needs_validation_data():
    assert [finding[:2] for finding in no_validation("rft")] == [("error", "no_validation")]
    assert no_validation("sft") == []
    assert no_validation("dpo") == []


def test_images_are_counted_and_what_the_service_drops_is_told():
    counts = counted(500, value=SEEN)
    ((finding, _),) = counts.found(Faq())
    assert (finding.level, finding.rule) == ("info", "images")
    assert finding.message.startswith("500 examples with images, of which the service leaves out")


def test_at_most_50_000_examples_have_images():
    most = Counts("sft")
    for _ in range(50):
        most.merge(counted(1_000, value=SEEN))
    assert found(most) == [("info", "images")]
    most.merge(counted(1, value=SEEN))
    assert found(most) == [("error", "images")]


def test_what_is_no_message_has_no_image():
    counts = Counts("sft")
    counts.add([Row(1, {}), Row(2, {"messages": 5}), Row(3, {"messages": [5, {"content": [5]}]})])
    assert (counts.examples, counts.with_images) == (3, 0)


def test_pieces_make_the_same_numbers_as_the_whole():
    rows = [Row(n, SEEN if n % 3 else PLAIN) for n in range(60)]
    whole, pieces = Counts("sft"), Counts("sft")
    whole.add(rows)
    for start in range(0, 60, 7):
        piece = Counts("sft")
        piece.add(rows[start : start + 7])
        pieces.merge(pickle.loads(pickle.dumps(piece)))
    assert list(pieces.found(Faq())) == list(whole.found(Faq()))
    assert (pieces.examples, pieces.with_images) == (60, 40)


@pytest.mark.parametrize(
    ("size", "level"),
    [
        (150 * MB, None),
        (150 * MB + 1, "warning"),
        (512 * MB - 1, "warning"),
        (512 * MB, "error"),
        (1024 * MB + 1, "error"),
        (8 * 1024 * MB + 1, "error"),
    ],
)
def test_a_file_can_be_too_large(size, level):
    assert [finding.level for finding in sizes(size)] == ([level] if level else [])


def test_each_size_has_its_own_way_out():
    warned, portal, refused, resource, parts = (sizes(mb * MB)[0] for mb in (151, 200, 512, 1_025, 8_193))
    assert (
        warned.message
        == "the file has 151 MB, and jobs on more than 150 MB in one upload were seen to fail late"
    )
    assert portal.message.endswith("; the portal takes less than 200 MB")
    assert refused.message == "the file has 512 MB, and one upload takes less than 512 MB"
    assert refused.fix == warned.fix == "upload it in parts of 64 MB through /uploads"
    assert resource.message == (
        "the file has 1,025 MB, and all fine-tuning files of a resource together may have 1 GB"
    )
    assert parts.message == "the file has 8,193 MB, and 8 GB is the most in parts"


# Rows in memory


def test_the_file_of_a_dataset_is_written_once():
    dataset = Dataset("a", PAIRS.examples)
    assert dataset.to_jsonl() is dataset.to_jsonl()
    assert "_jsonl" not in pickle.loads(pickle.dumps(dataset)).__dict__
    assert dataset.take(1).to_jsonl() == dataset.to_jsonl().split(b"\n")[0] + b"\n"


def test_examples_in_memory_are_not_read_from_json_again(monkeypatch):
    monkeypatch.setattr(sources, "parsed", None)  # calling it would be an error
    report = check(Dataset("pairs", (*PAIRS.examples, PAIRS[0])))
    assert [problem.line for problem in report.of("duplicate")] == [0]


PARTS = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text("aä\n\x07\\\ud800", max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["role", "content", "x", 1]), inner)
    ),
    max_leaves=6,
)


@given(
    st.lists(PARTS, max_size=3),
    st.dictionaries(st.sampled_from(["tools", "answer", "input"]), PARTS, max_size=2),
)
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
def test_an_example_in_memory_is_judged_as_its_line_in_the_file(tmp_path, messages, more):
    dataset = Dataset("a.jsonl", (Example(tuple(messages), "a.jsonl:1", more),))
    path = tmp_path / "a.jsonl"
    path.write_bytes(dataset.to_jsonl())
    only = ("format", "texts", "privacy")
    found, read = (check(data, method="sft", only=only).problems for data in (dataset, path))
    assert set(found) == set(read)


def test_a_test_of_questions_and_answers_is_no_file_of_pairs_that_went_wrong():
    def pair(n: int) -> Example:
        more = {
            "preferred_output": [{"role": "assistant", "content": f"{SENTENCES[n % 4]} Reply {n}, gladly."}],
            "non_preferred_output": [{"role": "assistant", "content": f"Reply {n}."}],
        }
        return Example(({"role": "user", "content": QUESTIONS[n]},), f"pairs.csv:{n + 2}", more)

    pairs = Dataset("pairs.csv", tuple(pair(n) for n in range(12)))
    asked = data("Do you sell bread?", "Where is the old town?", QUESTIONS[0], name="test.jsonl")
    errors = [(found.rule, found.origin) for found in check(pairs, test=asked, method="dpo").errors]
    assert errors == [("overlap", "pairs.csv:2")]
    wrong = Dataset("test.jsonl", (Example(({"role": "assistant", "content": "no"},), "test.jsonl:1"),))
    assert "test.jsonl:1" in {found.origin for found in check(pairs, test=wrong, method="dpo").errors}
