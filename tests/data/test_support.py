"""The support desk: as many tickets as promised, none twice, and graders that distinguish its answers."""

import csv
import re
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import support
from support import grade, missing_in_tone, problem, says, tone, valid

from workbench.dataset.check.check import check
from workbench.dataset.dataset import Dataset
from workbench.dataset.preference_pairs import bias
from workbench.dataset.read import read
from workbench.evaluation.grader_trial import BAD, known_answers
from workbench.evaluation.graders import grading
from workbench.evaluation.graders.ready_made import grader
from workbench.evaluation.pass_rates import drawn
from workbench.evaluation.prompts import AS_TRAINED, with_references
from workbench.project import open_project
from workbench.settings import DATA

DESK = DATA / "support"


def rows(name: str) -> list[dict[str, str]]:
    with (DESK / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


TICKETS, TEST = rows("tickets.csv"), rows("test.csv")


def words(text: str, length: int) -> set[tuple[str, ...]]:
    found = re.findall(r"\w+", text.lower())
    return {tuple(found[at : at + length]) for at in range(len(found) - length + 1)}


def said(text: str) -> dict[str, str]:
    return {"output_text": text}


# The files


def test_the_files_are_what_the_script_makes():
    done = subprocess.run(
        [sys.executable, str(DESK / "make.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_there_is_enough_of_both_and_every_cell_is_filled():
    assert (len(TICKETS), len(TEST)) == (360, 120)
    columns = [
        "question",
        "answer",
        "friendly",
        "plain",
        "team",
        "says",
        "intent",
        "mood",
        "tone",
        "template",
    ]
    assert list(TICKETS[0]) == list(TEST[0]) == columns
    assert [row for row in TICKETS + TEST if not all(value.strip() for value in row.values())] == []


def test_no_template_question_or_order_is_on_both_sides():
    for column in ("template", "question"):
        assert {row[column] for row in TICKETS}.isdisjoint(row[column] for row in TEST)
    orders = [
        set(re.findall(r"TT-\d+", " ".join(row["question"] for row in part))) for part in (TICKETS, TEST)
    ]
    assert orders[0].isdisjoint(orders[1])
    assert (len(orders[0]) > 100, len(orders[1])) == (True, 6)


def test_no_ticket_of_the_test_is_a_near_copy_of_one_to_train_on():
    known = [words(row["question"], 3) for row in TICKETS]
    for row in TEST:
        pieces = words(row["question"], 3)
        assert max(len(pieces & other) / max(1, len(pieces | other)) for other in known) < 0.15, row[
            "question"
        ]


def test_no_six_words_in_a_row_are_on_both_sides():
    known = set().union(*(words(row["question"], 6) for row in TICKETS))
    assert [row["question"] for row in TEST if words(row["question"], 6) & known] == []


def test_each_ticket_of_the_test_was_written_on_its_own():
    assert len({row["template"] for row in TEST}) == 120


def test_both_files_mix_all_teams_concerns_and_moods():
    for part, each_team in ((TICKETS, 72), (TEST, 24)):
        assert Counter(row["team"] for row in part) == dict.fromkeys(support.TEAMS, each_team)
        assert set(Counter(row["intent"] for row in part).values()) == {len(part) // 30}
        assert {row["mood"] for row in part} == {"calm", "polite", "angry", "rough", "short", "long", "edge"}
    assert sum(row["mood"] == "edge" for row in TEST) == 16


def test_a_quarter_of_the_answers_of_then_is_in_the_shops_tone():
    assert [row for row in TICKETS + TEST if row["answer"] != row[row["tone"]]] == []
    assert sum(row["tone"] == "friendly" for row in TICKETS) / 360 == pytest.approx(0.25, abs=0.03)


@pytest.mark.parametrize("name", ["tickets.csv", "test.csv"])
def test_the_check_finds_nothing_wrong_in_them(name: str):
    def examples(name: str) -> Dataset:
        return read(DESK / name, question="question", answer="answer", system="Route the ticket.")

    report = check(examples(name), test=examples("test.csv") if name != "test.csv" else None)
    assert (report.counts["error"], report.counts["warning"]) == (0, 0)


def test_the_two_tones_make_pairs_that_do_not_teach_length():
    pairs = read(DESK / "tickets.csv", question="question", preferred="friendly", rejected="plain")
    report = check(pairs)
    # Short tickets about one concern, with the same two answers: 4 rows, 70 to 80 % the same.
    assert Counter(problem.rule for problem in report.problems if problem.level != "info") == {
        "near_duplicate": 4
    }
    assert not bias(pairs).is_long


# The graders


def test_every_answer_is_right_well_formed_and_says_what_it_should():
    for row in TICKETS + TEST:
        for column in ("answer", "friendly", "plain"):
            answer = said(row[column])
            assert (grade(answer, row), valid(answer, row), says(answer, row)) == (1, 1, 1), row[column]


def test_the_tones_are_told_apart():
    texts = tomllib.loads((DESK / "texts.toml").read_text(encoding="utf-8"))
    texts.pop("fill")
    for concern in texts.values():
        for text in concern["friendly"]:
            assert missing_in_tone(f"Team: billing\n{text}") == (), text
        for text in concern["plain"]:
            assert tone(said(f"Team: billing\n{text}"), {}) == 0.0, text


@pytest.mark.parametrize(
    ("answer", "wanted"),
    [
        ("Team: billing\nThe amount is refunded.", 1.0),
        ("team: Billing\n", 1.0),
        ("billing", 1.0),
        ("Billing.", 1.0),
        ("Team: returns\nWe'll send it to billing!", 0.0),
        ("Team: billing or returns\nThe amount is refunded.", 0.0),
        ("Dear customer, billing will help.", 0.0),
        ("Team: sales\nThe amount is refunded.", 0.0),
        ("", 0.0),
    ],
)
def test_the_first_line_alone_decides_on_the_team(answer: str, wanted: float):
    assert grade(said(answer), {"team": "billing"}) == wanted
    assert grade(said(answer), {"answer": "Team: billing\nThe amount is refunded."}) == wanted


@pytest.mark.parametrize(
    ("reply", "broken"),
    [
        ("Thanks for asking! We'll look into it today.", ()),
        ("Sorry! It’s our fault and you'll get a new one.", ()),
        ("We'll look into it today!", ("it does not begin warmly",)),
        ("Thanks for asking! It is back in stock.", ("it does not say we, us or our",)),
        ("Thanks for asking. We'll look into it today.", ("it has no exclamation mark",)),
        ("Thanks!!! We'll look into it today.", ("it has more than two exclamation marks",)),
        ("Thanks! We note that the form must be sent.", ("'must' is stiff",)),
        ("Great! The customer tells us more.", ("'the customer' is stiff",)),
        (
            "It is refunded.",
            ("it does not begin warmly", "it does not say we, us or our", "it has no exclamation mark"),
        ),
    ],
)
def test_the_tone_has_rules_and_each_can_be_broken_alone(reply: str, broken: tuple[str, ...]):
    assert missing_in_tone(f"Team: billing\n{reply}") == broken


@pytest.mark.parametrize(
    ("answer", "finding"),
    [
        ("Team: billing\nThe amount is refunded.", None),
        ("billing\nThe amount is refunded.", "the first line should be 'Team: ' and a team"),
        (
            "Team: sales\nThe amount is refunded.",
            "the first line names none of the teams delivery, returns, billing, account, products",
        ),
        ("Team: billing", "one line for the customer should follow the team"),
        ("Team: billing\nThe amount\nis refunded.", "one line for the customer should follow the team"),
    ],
)
def test_the_form_is_two_lines(answer: str, finding: str | None):
    assert problem(answer) == finding


def test_the_page_about_the_desk_names_every_team_and_is_itself_in_tone():
    page = (DESK / "desk.md").read_text(encoding="utf-8")
    assert re.findall(r"^    (\w+): ", page.split("Teams:")[1].split("Where two")[0], re.MULTILINE) == [
        *support.TEAMS
    ]
    example = "\n".join(line.strip() for line in re.findall(r"^    .+$", page, re.MULTILINE)[:2])
    assert (problem(example), missing_in_tone(example)) == (None, ())


@pytest.mark.parametrize(
    ("answer", "pays", "passes"),
    [
        ("Team: delivery\nSorry about that! We'll trace it within 3 working days.", 1.0, 1.0),
        ("Team: delivery\nSorry about that! We'll trace it soon.", 0.4, 1.0),
        ("Team: delivery\nThe parcel will be traced within 3 working days.", 0.2, 0.0),
        ("Team: delivery\nWe'll write to you when your parcel is traced.", 0.2, 1.0),
        ("Team: delivery\nSorry, our fault! It was held, it is traced, and it will be sent.", 0.4, 0.0),
        ("Team: billing\nSorry about that! We'll trace it within 3 working days.", 0.0, 0.0),
        ("Team: delivery", 0.2, 0.0),
        ("", 0.0, 0.0),
    ],
)
def test_each_part_of_the_reward_counts_with_those_before_it(answer: str, pays: float, passes: float):
    item = {"team": "delivery", "says": "3 working days"}
    for name, expected in (("reward", pays), ("personal", passes)):
        assert grading.grade(grader(f"data/support/support.py:{name}"), answer, item) == pytest.approx(
            expected
        )


def test_the_grader_that_judges_tells_the_two_tones_apart_as_well():
    for row in TICKETS + TEST:
        scores = support.personal(said(row["friendly"]), row), support.personal(said(row["plain"]), row)
        assert scores == (1.0, 0.0), row["friendly"] + row["plain"]


@pytest.mark.parametrize("seed", range(8))
def test_of_bad_answers_one_in_a_hundred_at_most_earns_half_of_the_reward_whichever_tickets_are_drawn(
    seed: int,
):
    tickets = read(DESK / "tickets.csv", question="question", answer="friendly")
    rows = drawn(with_references(tickets, AS_TRAINED), 64, seed=seed)
    found = known_answers(rows, seed=seed)
    earned = [(case, support.reward(said(case.answer), case.item)) for case in found]
    assert [case.name for case, reward in earned if reward == 1.0 and case.kind == "trick"] == []
    assert [case.answer for case, reward in earned if reward < 1.0 and case.kind == "right"] == []
    bad = [reward for case, reward in earned if case.name in BAD]
    assert (len(bad), sum(reward >= 0.5 for reward in bad) <= 1) == (100, True)


# The task


def test_the_project_called_support_has_this_task(home: Path):
    task = open_project("support").task
    assert (task.question, task.answer, task.cluster) == ("question", "answer", "template")
    assert (len(task.read_examples()), len(task.read_test())) == (360, 120)
    tones = [float(row["tone"] == "friendly") for row in TEST[:4]]
    for name in (task.grader, task.format_grader, "data/support/support.py:tone"):
        assert name is not None
        scores = [grading.grade(grader(name), row["answer"], row) for row in TEST[:4]]
        assert scores == (tones if name.endswith(":tone") else [1.0] * 4)
