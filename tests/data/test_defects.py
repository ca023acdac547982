"""The sample with planted defects: a check finds each and nothing else, and the repairs take them out."""

import csv
import re
import runpy
from collections import Counter
from pathlib import Path

import pytest

from workbench.dataset.check.check import check
from workbench.dataset.check.report import Report
from workbench.dataset.dataset import Dataset
from workbench.dataset.read import read
from workbench.dataset.repair.repair import propose
from workbench.settings import DATA

GQL = DATA / "gql"
DEFECTS = runpy.run_path(str(GQL / "defects.py"))
# As 03_build_data names them.
REPAIRS = ("near_duplicate", "contradiction", "overlap", "refusal", "pii", "secret")


def cells(path: Path) -> list[tuple[str, ...]]:
    with path.open(encoding="utf-8", newline="") as file:
        return [tuple(row) for row in csv.reader(file)][1:]


def examples(name: str) -> Dataset:
    return read(GQL / name, question="question", answer="query", system="Always return GQL.")


PLANTED = DEFECTS["planted"](list(DEFECTS["spoiled"](cells(GQL / "pairs.csv"), cells(GQL / "test.csv"))))
PLACES = {(defect.rule, defect.line) for defect in PLANTED}


@pytest.fixture(scope="module")
def collected() -> Dataset:
    return examples("collected.csv")


@pytest.fixture(scope="module")
def report(collected: Dataset) -> Report:
    return check(collected, test=examples("test.csv"))


def test_this_is_planted():
    assert Counter(defect.rule for defect in PLANTED) == {
        **{"duplicate": 8, "whitespace": 6, "mojibake": 3, "pii": 3, "overlap": 3},
        **{"empty": 2, "refusal": 2, "secret": 1, "contradiction": 1},
    }


def test_the_guide_to_the_data_tells_their_number():
    told = re.search(r"with (\d+) planted defects", (DATA / "README.md").read_text(encoding="utf-8"))
    assert int(told[1]) == len(PLANTED)


def test_each_planted_defect_is_found_at_its_place(report: Report):
    assert PLACES - {(problem.rule, problem.line) for problem in report.problems} == set()


def test_nothing_else_is_an_error_or_a_warning(report: Report):
    serious = {(p.rule, p.line) for p in report.problems if p.level != "info"}
    [(rule, _)] = serious - PLACES  # the row that the planted answer contradicts: nobody knows which is right
    assert rule == "contradiction"


@pytest.fixture(scope="module")
def repaired(collected: Dataset, report: Report) -> Dataset:
    """As 03_build_data does it: what loses nothing, then what was named, then without the rest's errors."""
    test = examples("test.csv")
    mended = propose(collected, report).apply()
    chosen = propose(mended, check(mended, test=test), rules=REPAIRS).apply()
    return chosen.without(check(chosen, test=test).bad)


def test_the_repairs_leave_the_pairs_that_were_there_before(repaired: Dataset):
    pairs = examples("pairs.csv")
    assert [example.answer for example in repaired] == [example.answer for example in pairs]
    left = Counter(
        mended.question.removeprefix(pair.question)
        for mended, pair in zip(repaired, pairs, strict=True)
        if mended.question != pair.question
    )
    assert left == {" – thanks": 3, " ([EMAIL_1], [PHONE_1])": 3, " (password=[PASSWORD_1])": 1}


def test_what_is_left_is_sound(repaired: Dataset):
    left = check(repaired, test=examples("test.csv"))
    assert (left.counts["error"], left.counts["warning"]) == (0, 0)


def test_the_sound_pairs_need_no_repair():
    pairs = examples("pairs.csv")
    sound = check(pairs, test=examples("test.csv"))
    assert (sound.counts["error"], sound.counts["warning"]) == (0, 0)
    assert not propose(pairs, sound).changes
