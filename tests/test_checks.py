import random
from pathlib import Path

import pytest

from workbench.dataset import Dataset, Example, check, parse_jsonl, read

GQL = Path(__file__).parent.parent / "data" / "gql"
GOOD = ({"role": "user", "content": "q"}, {"role": "assistant", "content": "a"})


def dataset(
    *conversations: tuple[dict[str, object], ...], name: str = "faq.jsonl", fill: int = 60
) -> Dataset:
    """The conversations, and enough good ones behind them."""
    good = [
        ({"role": "user", "content": f"question {n}"}, {"role": "assistant", "content": f"answer {n}"})
        for n in range(fill)
    ]
    every = [*conversations, *good]
    return Dataset(name, tuple(Example(messages, f"{name}:{n}") for n, messages in enumerate(every, 1)))


def found(*conversations: tuple[dict[str, object], ...]) -> list[tuple[str, str, str, str]]:
    report = check(dataset(*conversations))
    return [(problem.level, problem.rule, problem.origin, problem.path) for problem in report.problems]


def test_a_good_dataset_has_no_problem():
    report = check(dataset(GOOD))
    assert (report.ok, report.problems, report.counts) == (True, (), {"error": 0, "warning": 0, "info": 0})


def test_the_sample_project_has_no_problem():
    pairs, test = (read(GQL / name, answer="query") for name in ("pairs.csv", "test.csv"))
    assert check(pairs, other=test).problems == ()


@pytest.mark.parametrize(
    ("size", "rules"), [(0, ["too_few"]), (9, ["too_few"]), (10, ["few"]), (49, ["few"]), (50, [])]
)
def test_there_must_be_enough_examples(size, rules):
    report = check(dataset(fill=size))
    assert [problem.rule for problem in report.problems] == rules
    assert report.ok == (size >= 10)


def test_a_problem_reads_as_a_sentence():
    (problem,) = check(dataset(fill=9)).problems
    assert str(problem) == "error: faq.jsonl: 9 examples, and a job needs at least 10; add examples."


@pytest.mark.parametrize(
    ("conversation", "problem"),
    [
        (({"role": "bot", "content": "q"}, *GOOD), ("error", "role", "messages[0].role")),
        (({"content": "q"}, *GOOD), ("error", "role", "messages[0].role")),
        (({"role": ["user"], "content": "q"}, *GOOD), ("error", "role", "messages[0].role")),
        (({"role": "user", "content": ""}, GOOD[1]), ("error", "empty", "messages[0].content")),
        ((GOOD[0], {"role": "assistant", "content": " \n"}), ("error", "empty", "messages[1].content")),
        ((GOOD[0], {"role": "assistant"}), ("error", "empty", "messages[1].content")),
        ((GOOD[0], {"role": "assistant", "content": None}), ("error", "empty", "messages[1].content")),
        (({"role": "user", "content": []}, GOOD[1]), ("error", "empty", "messages[0].content")),
        ((GOOD[0], {"role": "assistant", "content": 5}), ("error", "content", "messages[1].content")),
        (({"role": "user", "content": ["q"]}, GOOD[1]), ("error", "content", "messages[0].content[0]")),
        (({"role": "user", "content": [{}]}, GOOD[1]), ("error", "content", "messages[0].content[0]")),
        (({**GOOD[0], "weight": 1}, GOOD[1]), ("error", "weight", "messages[0].weight")),
        ((GOOD[0], {**GOOD[1], "weight": 0.5}), ("error", "weight", "messages[1].weight")),
        ((GOOD[0], {**GOOD[1], "weight": True}), ("error", "weight", "messages[1].weight")),
        ((GOOD[0], {**GOOD[1], "weight": "1"}), ("error", "weight", "messages[1].weight")),
        ((GOOD[0], {**GOOD[1], "weight": 0}), ("warning", "weight", "messages")),
        ((GOOD[0],), ("error", "last", "messages[0]")),
        ((GOOD[1],), ("error", "user", "messages")),
        ((*GOOD, GOOD[1]), ("error", "order", "messages[2]")),
        ((GOOD[0], *GOOD), ("warning", "order", "messages[1]")),
    ],
)
def test_a_broken_conversation_is_found(conversation, problem):
    level, rule, path = problem
    assert found(conversation) == [(level, rule, "faq.jsonl:1", path)]


CALL = {"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}


@pytest.mark.parametrize(
    "conversation",
    [
        (*GOOD, *GOOD),
        (GOOD[0], {**GOOD[1], "weight": 0}, GOOD[0], {**GOOD[1], "weight": 1}),
        (GOOD[0], {"role": "assistant", "content": None, "tool_calls": [CALL]}),
        (GOOD[0], {"role": "assistant", "tool_calls": [CALL]}, {"role": "tool", "content": ""}, GOOD[1]),
        ({"role": "user", "content": [{"type": "text", "text": "q"}]}, GOOD[1]),
        (GOOD[0], {"role": "assistant", "content": "0"}),
    ],
)
def test_an_unusual_conversation_is_no_problem(conversation):
    assert found(conversation) == []


def test_a_system_message_behind_others_is_worth_a_look():
    late = (GOOD[0], {"role": "system", "content": "s"}, GOOD[1])
    assert ("warning", "order", "faq.jsonl:1", "messages[1]") in found(late)


def test_everything_is_found_at_once():
    assert found(({"role": "bot", "content": 1}, {"role": "user", "content": "", "weight": 1})) == [
        ("error", "role", "faq.jsonl:1", "messages[0].role"),
        ("error", "content", "faq.jsonl:1", "messages[0].content"),
        ("error", "empty", "faq.jsonl:1", "messages[1].content"),
        ("error", "weight", "faq.jsonl:1", "messages[1].weight"),
        ("error", "last", "faq.jsonl:1", "messages[1]"),
    ]


def test_an_exact_copy_names_the_first_one():
    report = check(dataset(GOOD, tuple(dict(reversed(message.items())) for message in GOOD)))
    (problem,) = report.problems
    assert (problem.level, problem.rule, problem.origin) == ("warning", "duplicate", "faq.jsonl:2")
    assert problem.message == "the same example stands at faq.jsonl:1"


def test_another_answer_to_the_same_prompt_is_a_contradiction():
    assert found(GOOD, (GOOD[0], {"role": "assistant", "content": "b"}), GOOD) == [
        ("warning", "contradiction", "faq.jsonl:2", ""),
        ("warning", "duplicate", "faq.jsonl:3", ""),
    ]


def test_the_same_answer_to_another_prompt_is_fine():
    assert found(GOOD, ({"role": "user", "content": "Q"}, GOOD[1])) == []


def test_mixed_system_messages_are_one_problem():
    system = {"role": "system", "content": "Be brief."}
    report = check(dataset((system, *GOOD), (system, {"role": "user", "content": "r"}, GOOD[1])))
    (problem,) = report.problems
    assert (problem.level, problem.rule) == ("warning", "system")
    assert problem.message == (
        "2 different system messages (no message counts as one); "
        "the most frequent stands in 60 of 62 examples, faq.jsonl:1 has another"
    )


def test_a_question_of_the_test_set_is_an_error_even_under_another_system_message():
    test = Dataset("test.csv", (Example(({"role": "system", "content": "s"}, *GOOD), "test.csv:7"),))
    (problem,) = check(dataset(GOOD), other=test).problems
    assert (problem.level, problem.rule, problem.origin) == ("error", "overlap", "faq.jsonl:1")
    assert problem.message == "test.csv:7 asks the same, so its score would be a recital"


def test_a_similar_question_of_the_test_set_is_fine():
    test = Dataset("test.csv", (Example(({"role": "user", "content": "q?"}, GOOD[1]), "test.csv:7"),))
    assert check(dataset(GOOD), other=test).problems == ()


def test_errors_stand_before_warnings():
    report = check(dataset((GOOD[0], *GOOD), (GOOD[0],)))
    assert [problem.level for problem in report.problems] == ["error", "warning"]
    assert [problem.rule for problem in report.errors] == ["last"]


def test_questions_without_an_answer_do_not_contradict_each_other():
    assert [rule for _, rule, _, _ in found((GOOD[0],), ({"role": "user", "content": "r"},))] == [
        "last",
        "last",
    ]


def test_what_is_bad_can_be_left_out():
    data = dataset((GOOD[0],), GOOD)
    assert check(data.without(check(data).bad)).problems == ()


def test_a_report_prints_the_sum_and_the_lines():
    assert repr(check(dataset((GOOD[0],)))).splitlines() == [
        "faq.jsonl: 61 examples, 1 error, 0 warnings",
        "error: faq.jsonl:1 messages[0]: the last message is not the assistant's; "
        "end with the answer to learn.",
    ]


def test_a_report_shows_an_accessible_escaped_table(unstyled):
    html = unstyled(check(dataset(({"role": "<b>", "content": "q"}, *GOOD), name="<i>.jsonl"))._repr_html_())
    assert "<caption>&lt;i&gt;.jsonl: 61 examples, 1 error, 0 warnings</caption>" in html
    assert '<th scope="row">error</th><td>&lt;i&gt;.jsonl:1 messages[0].role</td>' in html
    assert "&#x27;&lt;b&gt;&#x27; is no role" in html


def test_many_problems_are_counted_and_the_first_shown():
    report = check(dataset(*[({"role": "user", "content": f"q{n}"},) for n in range(200)]))
    assert report.counts["error"] == 200
    assert report._repr_html_().count("<tr>") == 51
    assert "200 errors, 0 warnings, the first 50 of 200 findings" in repr(report)


def test_a_report_without_findings_says_so(unstyled):
    html = unstyled(check(dataset(GOOD))._repr_html_())
    assert "<caption>faq.jsonl: 61 examples, 0 errors, 0 warnings</caption>" in html
    assert "<td>Nothing to complain about.</td>" in html


def test_no_content_makes_check_raise(unstyled):
    chance = random.Random(0)
    values = [
        None,
        True,
        0,
        1,
        -1.5,
        "",
        " ",
        "user",
        "assistant",
        "\ud800",
        [],
        [[]],
        {},
        {"type": 1},
        [{"type": "text"}],
    ]
    for _ in range(3_000):
        messages = tuple(
            {
                key: chance.choice(values)
                for key in chance.sample(["role", "content", "weight", "tool_calls"], 3)
            }
            for _ in range(chance.randrange(4))
        )
        data = Dataset("x", (Example(messages, "x:1"), Example(messages, "x:2")))
        report = check(data, other=data)
        assert report.counts["error"] >= 1
        assert unstyled(report._repr_html_()).startswith("<table><caption>x: 2 examples")


def test_nesting_as_deep_as_can_be_read_can_be_checked():
    line = b'{"messages": [{"role": "user", "content": ' + b"[" * 95 + b"]" * 95 + b"}]}"
    assert not check(parse_jsonl(line, "deep.jsonl")).ok
