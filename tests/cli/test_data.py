"""``python -m workbench check``, ``build``, ``fix`` and ``undo``: what a shell and a CI job are told."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from workbench.__main__ import app
from workbench.settings import ROOT

Write = Callable[..., Path]

TABLE = (
    "subject,body,reply,worse,topic\nReturn,May I?,Yes.,No way.,parcel\n"
    "Order,Where is it?,On its way.,Dunno.,\n"
)


def chat(question: str, answer: str = "Yes.", **more: object) -> str:
    """A line of a supervised file."""
    asked, said = {"role": "user", "content": question}, {"role": "assistant", "content": answer}
    return json.dumps({"messages": [asked, said], **more})


QUESTIONS = [
    *("Where is my parcel now?", "May I return a coat?", "How do I pay by card?", "Who delivers on Sunday?"),
    *("Is the shop open today?", "Can I change my address?", "What does shipping cost?", "Why was I billed?"),
    *("When will shoes be back?", "Do you sell gift cards?", "Which sizes are left?", "Are returns free?"),
]
SOUND = [chat(question, f"Answer {number}.") for number, question in enumerate(QUESTIONS)]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Writes a file, of lines or as it is given, and gives its path."""

    def written(name: str, *lines: str, content: str | bytes = "") -> Path:
        path = tmp_path / name
        text = "".join(f"{line}\n" for line in lines) or content
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    return written


def call(*words: str | Path) -> Result:
    return CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)


def refusal(*words: str | Path) -> str:
    """The one sentence on stderr of a command that could not be carried out."""
    done = call(*words)
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


def objects(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def test_a_sound_file_ends_with_0(write: Write):
    done = call("check", write("train.jsonl", *SOUND))
    assert done.exit_code == 0
    assert done.stdout.startswith("train.jsonl: 12 examples, 0 errors, ")


def test_errors_end_with_1_and_name_their_place(write: Write):
    done = call("check", write("train.jsonl", *SOUND, chat("And now?", "")))
    assert done.exit_code == 1
    assert "error: train.jsonl:13 messages[1].content: there is no text; " in done.stdout


def test_the_json_has_every_problem_with_its_place(write: Write):
    path = write("train.jsonl", *SOUND, chat("And now?", ""), "{")
    done = call("check", path, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 1
    assert (told["ok"], told["examples"], told["method"]) == (False, 13, "sft")
    assert told["tokens"] > 100
    errors = [problem for problem in told["problems"] if problem["level"] == "error"]
    assert [(problem["rule"], problem["line"], problem["path"]) for problem in errors] == [
        ("empty", 13, "messages[1].content"),
        ("json", 14, errors[1]["path"]),
    ]
    assert {tuple(problem) for problem in told["problems"]} == {
        ("level", "rule", "file", "line", "path", "message", "fix")
    }
    assert {problem["file"] for problem in told["problems"]} == {"train.jsonl"}


def test_all_files_are_checked_together(write: Write):
    train, valid = write("train.jsonl", *SOUND), write("valid.jsonl", chat(QUESTIONS[0], "Answer 0."))
    told = json.loads(call("check", train, valid, "--test", valid.with_name("train.jsonl"), "--json").output)
    assert {problem["rule"] for problem in told["problems"]} >= {"overlap"}
    assert [file["role"] for file in told["files"]] == ["training", "validation", "test"]


def test_fewer_aspects_and_the_method_can_be_named(write: Write):
    path = write("train.jsonl", *SOUND, chat("My key is password=Qz7-plover-91xK"))
    assert call("check", path).exit_code == 1
    assert call("check", path, "--only", "format,tokens").exit_code == 0
    assert "the last message is not the user's" in call("check", path, "--method", "rft").stdout


def test_a_grader_is_held_against_every_row(write: Write):
    prompts = [json.dumps({"messages": [{"role": "user", "content": q}], "answer": "x"}) for q in QUESTIONS]
    grader = write("grader.json", '{"type": "string_check", "reference": "{{item.right}}"}')
    done = call("check", write("train.jsonl", *prompts), "--grader", grader, "--json")
    rules = {problem["rule"] for problem in json.loads(done.stdout)["problems"]}
    assert done.exit_code == 1
    assert "template" in rules


def test_a_long_list_of_problems_is_all_in_the_json(write: Write):
    told = json.loads(call("check", write("train.jsonl", *["{"] * 20_000), "--json").stdout)
    assert sum(problem["rule"] == "json" for problem in told["problems"]) == 20_000


def test_a_check_in_a_real_shell(write: Write):
    command = [sys.executable, "-m", "workbench", "check", str(write("train.jsonl", *SOUND, "{")), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["counts"]["error"] == 1


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere.jsonl",), "nowhere.jsonl does not exist"),
        (("train.jsonl", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("train.jsonl", "--test", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("train.jsonl", "--shots", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("train.jsonl", "--corpus", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("train.jsonl", "--grader", "nowhere.json"), "nowhere.json cannot be read: No such file"),
        (("train.jsonl", "--grader", "train.jsonl"), "train.jsonl is neither YAML nor JSON"),
        ((".",), "is a folder"),
        (("binary.jsonl",), "binary.jsonl is "),
        (("train.jsonl", "--only", "beauty"), "There is no aspect 'beauty'; choose from format, tokens, "),
        (("train.jsonl", "--method", "ppo"), "There is no method 'ppo'; choose sft, dpo, rft."),
        (("train.jsonl", "--model", "gtp-4"), "gtp-4"),
    ],
)
def test_a_check_that_cannot_be_made_is_one_sentence(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], sentence: str
):
    write("train.jsonl", *SOUND)
    write("binary.jsonl", content=b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 8)
    monkeypatch.chdir(tmp_path)
    assert sentence in refusal("check", *words)


def test_a_table_becomes_a_supervised_file_by_flags(write: Write, tmp_path: Path):
    out = tmp_path / "train.jsonl"
    done = call(
        *("build", write("faq.csv", content=TABLE), "-o", out, "--question", "{subject}: {body}"),
        *("--answer", "reply", "--system", "Be brief."),
    )
    assert done.exit_code == 0
    assert done.stdout.startswith(f"{out}: 2 examples\n")
    assert objects(out)[0] == {
        "messages": [
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Return: May I?"},
            {"role": "assistant", "content": "Yes."},
        ]
    }


def test_a_table_becomes_preference_pairs(write: Write, tmp_path: Path):
    out = tmp_path / "pairs.jsonl"
    flags = ("--question", "body", "--preferred", "reply", "--rejected", "worse")
    assert call("build", write("faq.csv", content=TABLE), "-o", out, *flags).exit_code == 0
    assert objects(out)[1] == {
        "input": {"messages": [{"role": "user", "content": "Where is it?"}]},
        "preferred_output": [{"role": "assistant", "content": "On its way."}],
        "non_preferred_output": [{"role": "assistant", "content": "Dunno."}],
    }


def test_a_table_becomes_prompts_with_what_a_grader_reads(write: Write, tmp_path: Path):
    out = tmp_path / "prompts.jsonl"
    flags = ("--question", "body", "--reference", "reply,topic")
    assert call("build", write("faq.csv", content=TABLE), "-o", out, *flags).exit_code == 0
    assert objects(out)[0] == {
        "messages": [{"role": "user", "content": "May I?"}],
        "reply": "Yes.",
        "topic": "parcel",
    }


MAPPING = 'question: "{subject}: {body}"\nanswer: reply\nsystem: Be brief.\n'


def test_a_mapping_in_yaml_says_the_same_as_flags_and_a_flag_outweighs_it(write: Write, tmp_path: Path):
    table, mapping = write("faq.csv", content=TABLE), write("mapping.yaml", content=MAPPING)
    by_file, by_flags, mixed = (tmp_path / f"{name}.jsonl" for name in ("file", "flags", "mixed"))
    call("build", table, "-m", mapping, "-o", by_file)
    flags = ("--question", "{subject}: {body}", "--answer", "reply", "--system", "Be brief.")
    call("build", table, *flags, "-o", by_flags)
    call("build", table, "-m", mapping, "--system", "Be kind.", "-o", mixed)
    assert by_file.read_bytes() == by_flags.read_bytes()
    assert objects(mixed)[0]["messages"][0]["content"] == "Be kind."


def test_what_is_built_tells_its_number_its_hash_and_what_was_guessed(write: Write):
    done = call("build", write("faq.csv", content="question;answer\nHi?;Hello.\n"), "--json")
    told = json.loads(done.stdout)
    assert told["file"].endswith("faq.built.jsonl")
    assert told["examples"] == 1
    assert len(told["sha256"]) == 64
    assert any("separator" in note for note in told["notes"])


def test_a_table_is_mixed_with_what_the_base_model_says_itself(write: Write, tmp_path: Path):
    rows = [f"How much is {n} and {n}?,{2 * n}" for n in range(10)]
    table = write("sums.csv", "sum,is", *rows)
    mine = write("mine.csv", "prompt", "How much is 3 and 3?", "Hello there", "Good morning", "Good evening")
    test = write("test.csv", "sum,is", "how much is 3 and 3,6")
    words = ("--rehearsal", "0.2", "--model", "nano", "--prompts", mine, "--test", test, "--json")
    words += ("--question", "sum", "--answer", "is")
    done = call("build", table, "--output", tmp_path / "mixed.jsonl", *words)
    facts = json.loads(done.stdout)
    assert (facts["rehearsal"]["share"], facts["rehearsal"]["model"]) == (0.2, "nano")
    mixed = objects(tmp_path / "mixed.jsonl")
    added = [
        row["messages"][0]["content"] for row in mixed if not row["messages"][0]["content"].startswith("How")
    ]
    assert facts["examples"] == len(mixed) == 10 + facts["rehearsal"]["rows"]
    assert set(added) <= {"Hello there", "Good morning", "Good evening"}
    assert "1 left out: asked by the test or the probes as well" in facts["notes"][-1]


def test_a_share_that_is_none_is_one_sentence(write: Write):
    table = write("sums.csv", "question,answer", "1 and 1?,2")
    sentence = refusal("build", table, "--rehearsal", "7", "--model", "nano")
    assert sentence.rstrip().endswith(
        "rehearsal is 7; give a share from 0 to 1, such as 0.2: 20 rows for 100."
    )


def test_what_was_built_passes_the_check(write: Write, tmp_path: Path):
    rows = "".join(f"{question},Answer {number}.\n" for number, question in enumerate(QUESTIONS))
    out = tmp_path / "train.jsonl"
    assert call("build", write("faq.csv", content=f"question,answer\n{rows}"), "-o", out).exit_code == 0
    told = json.loads(call("check", out, "--json").stdout)
    assert (told["ok"], told["examples"]) == (True, 12)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("nowhere.csv",), "nowhere.csv does not exist"),
        ((".",), "is a folder"),
        (("binary.csv",), "binary.csv is an image by its first bytes"),
        (("faq.csv", "--answer", "replly"), "replly"),
        (("faq.csv", "-m", "nowhere.yaml"), "nowhere.yaml cannot be read: No such file or directory."),
        (("faq.csv", "-m", "."), ". cannot be read: Is a directory."),
        (("faq.csv", "-m", "broken.yaml"), "broken.yaml is neither YAML nor JSON: "),
        (("faq.csv", "-m", "binary.csv"), "binary.csv is not UTF-8 text; save it as UTF-8."),
        (("faq.csv", "-m", "list.yaml"), "list.yaml should hold names and their values, like name: value."),
        (
            ("faq.csv", "-m", "typo.yaml"),
            "typo.yaml says anwser, which no mapping has; it may say question, ",
        ),
        (("faq.csv", "-m", "number.yaml"), "question is 3 in the mapping; it should be a text."),
        (
            ("faq.csv", "-m", "numbers.yaml"),
            "reference is [1] in the mapping; it should be a list of columns.",
        ),
        (("faq.csv", "-m", "keys.yaml"), "keys.yaml says 1, which no mapping has"),
        (("faq.csv", "-o", "taken.jsonl"), "taken.jsonl exists already; give another name with --output"),
        (("faq.csv", "-o", "faq.csv/x.jsonl"), "x.jsonl cannot be written: Not a directory."),
        (("faq.csv", "-o", "no/where.jsonl"), "where.jsonl cannot be written: No such file or directory."),
    ],
)
def test_a_file_that_cannot_be_built_is_one_sentence(
    write: Write, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, words: tuple[str, ...], sentence: str
):
    write("faq.csv", content="question,answer\nHi?,Hello.\n")
    write("binary.csv", content=b"\x89PNG\r\n\x1a\n" + bytes(range(256)))
    write("broken.yaml", content="question: [")
    write("list.yaml", content="- question")
    write("typo.yaml", content="anwser: reply")
    write("number.yaml", content="question: 3")
    write("numbers.yaml", content="reference: [1]")
    write("keys.yaml", content="1: question\nanwser: reply")
    write("taken.jsonl", content="mine")
    monkeypatch.chdir(tmp_path)
    assert sentence in refusal("build", *words)
    assert (tmp_path / "taken.jsonl").read_text() == "mine"


DEFECTIVE = (
    *("\ufeff" + SOUND[0], SOUND[1].replace('"user"', '"human"'), SOUND[2][:-1] + ",}", *SOUND[3:], ""),
    chat("My key is password=Qz7-plover-91xK"),
)


@pytest.fixture
def defective(write: Write, home: Path) -> Path:
    return write("train.jsonl", content="\r\n".join(DEFECTIVE))


def test_a_fix_without_output_shows_a_diff_and_changes_nothing(defective: Path, home: Path):
    before = defective.read_bytes()
    done = call("fix", defective)
    assert done.exit_code == 0
    assert "- human: May I return a coat?\n+ user: May I return a coat?" in done.stdout
    assert "Qz7-plover" not in done.stdout
    assert defective.read_bytes() == before
    assert not home.exists()
    assert [path.name for path in defective.parent.iterdir()] == ["train.jsonl"]


def test_a_fix_with_output_writes_what_passes_the_check(defective: Path):
    before, mended = defective.read_bytes(), defective.with_name("mended.jsonl")
    done = call("fix", defective, "-o", mended, "--json")
    told = json.loads(done.stdout)
    assert done.exit_code == 0
    assert told["rows_changed"] | {"line_ends": 0} == {"role": 1, "json": 1, "line_ends": 0}
    assert (told["rows_dropped"], told["unreadable"]) == (0, 0)
    assert defective.read_bytes() == before
    assert call("check", mended, "--only", "format").exit_code == 0
    assert len(objects(mended)) == 13


def test_undo_gives_the_file_back_to_the_byte(defective: Path):
    mended = defective.with_name("mended.jsonl")
    call("fix", defective, "-o", mended, "--rules", "line_ends,json,role,secret")
    assert b"[PASSWORD_1]" in mended.read_bytes()
    done = call("undo", mended)
    before = defective.with_name("mended.before.jsonl")
    assert (done.exit_code, done.stdout) == (0, f"{before}: as it was before.\n")
    assert before.read_bytes() == defective.read_bytes()


def test_rows_of_the_test_can_be_taken_out(write: Write, home: Path):
    train, test = write("train.jsonl", *SOUND), write("test.jsonl", SOUND[4])
    mended = train.with_name("mended.jsonl")
    call("fix", train, "--rules", "overlap", "--test", test, "-o", mended)
    assert mended.read_text() == train.read_text().replace(f"{SOUND[4]}\n", "")


def test_a_fix_and_its_undo_in_a_real_shell(defective: Path):
    mended, before = defective.with_name("mended.jsonl"), defective.with_name("before.jsonl")
    for words in (("fix", defective, "-o", mended), ("undo", mended, "-o", before)):
        subprocess.run([sys.executable, "-m", "workbench", *words], capture_output=True, cwd=ROOT, check=True)
    assert mended.read_bytes() != before.read_bytes() == defective.read_bytes()


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (("fix", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("fix", "."), "is a folder"),
        (("fix", "faq.csv"), "faq.csv is a table, and 'fix' repairs JSON lines"),
        (("fix", "train.jsonl", "--rules", "beauty"), "there is no fix for 'beauty'; there are fixes for "),
        (("fix", "train.jsonl", "-o", "taken.jsonl"), "taken.jsonl exists already"),
        (("fix", "train.jsonl", "-o", "train.jsonl"), "train.jsonl exists already"),
        (("fix", "train.jsonl", "-o", "no/where.jsonl"), "cannot be written: No such file or directory."),
        (("fix", "train.jsonl", "-o", "faq.csv/x.jsonl"), "cannot be written: Not a directory."),
        (("fix", "train.jsonl", "--test", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("undo", "nowhere.jsonl"), "nowhere.jsonl does not exist"),
        (("undo", "train.jsonl"), "no repair led to this data"),
        (("undo", "."), "is a folder"),
    ],
)
def test_a_fix_or_undo_that_is_not_possible_is_one_sentence(
    write: Write,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    words: tuple[str, ...],
    sentence: str,
):
    write("train.jsonl", *SOUND)
    write("faq.csv", content="question,answer\nHi?,Hello.\n")
    write("taken.jsonl", content="mine")
    monkeypatch.chdir(tmp_path)
    assert sentence in refusal(*words)
    assert (tmp_path / "taken.jsonl").read_text() == "mine"


def test_fix_sends_a_table_to_build_in_the_words_of_a_shell(write: Write):
    table = write("my pairs.csv", content=TABLE)
    assert refusal("fix", table) == (
        f"{table} is a table, and 'fix' repairs JSON lines; make them first: "
        f"python -m workbench build '{table}'\n"
    )


def test_no_help_shows_marks_of_markup():
    for command in ("check", "build", "fix", "undo", "evaluate", "compare", "run", "models"):
        assert "``" not in call(command, "--help").stdout
