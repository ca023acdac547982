"""Which methods the data allows: each on both sides of its need, and unknown where nobody looked."""

import pytest

from workbench.decide.criteria import methods
from workbench.decide.situation import Situation, situation

RFT = {"reasoning_model": True, "prompts": 100, "grader": "programmatic", "pass_rate": 0.05}
RFT |= {"mixed_share": 0.2}


def possible(**facts: object) -> list[bool | None]:
    return [method.possible for method in methods(situation(facts)).methods]


@pytest.mark.parametrize(
    ("facts", "place", "told"),
    [
        ({"demonstrations": 50}, 0, True),
        ({"demonstrations": 49}, 0, False),
        ({"pairs": 500}, 1, True),
        ({"pairs": 499}, 1, False),
        (RFT, 2, True),
        (RFT | {"prompts": 99}, 2, False),
        (RFT | {"pass_rate": 0.96}, 2, False),
        (RFT | {"grader": "people"}, 2, False),
        (RFT | {"mixed_share": 0.19}, 2, False),
        (RFT | {"grader_trainable": False}, 2, False),
        ({"pairs": 500, "score": 0.3, "failures": {"format": 0.29, "style": 0.71}}, 1, False),
        ({"teacher_score": 0.9, "target": 0.9}, 3, True),
        ({"teacher_score": 0.89, "target": 0.9}, 3, False),
    ],
)
def test_each_method_on_both_sides_of_its_need(facts: dict[str, object], place: int, told: bool):
    assert possible(**facts)[place] is told


def test_what_nobody_looked_at_is_not_known():
    assert possible() == [None, None, None, None]
    assert repr(methods(Situation())).splitlines()[1] == (
        "DPO: not known (needs 500 pairs of a better and a worse answer, and a model that follows the form "
        "already; not known how many pairs)"
    )


def test_it_is_shown_as_a_table(unstyled):
    html = unstyled(methods(situation({"demonstrations": 421}))._repr_html_())
    assert "<td>421 examples</td><td>yes</td>" in html
