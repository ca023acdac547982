"""Whether raters agree on which answer is better, and whether a judge agrees with people."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from workbench.evaluation.preferring.matches import Match
from workbench.evaluation.statistics.agreement import Agreement, ac1, alpha, kappa, percent_agreement

TRUSTED, GOOD = 0.6, 0.8  # of the agreement beyond chance
ENOUGH = 50  # questions that two or more rated


@dataclass(frozen=True)
class Accord:
    """What raters said of the same questions (base, tuned or neither), compared."""

    raters: tuple[str, ...]
    alpha: Agreement
    """Krippendorff's, for any number of raters."""
    ac1: Agreement
    """Gwet's, which does not punish raters for nearly always preferring the same model."""
    share: Agreement
    """How often two of them say the same; by chance alone that is well above 0."""
    kappa: Agreement | None = None
    """Cohen's, for two raters."""

    @property
    def finding(self) -> str:
        """What is wrong with it, or nothing; 0.6 is enough to be believed, 0.8 is good."""
        who = " and ".join(rater or "the nameless" for rater in self.raters)
        if self.alpha.value < TRUSTED and self.ac1.value < TRUSTED:
            return (
                f"{who} agree too little to be believed (alpha {self.alpha.value:.2f}, {TRUSTED} is enough): "
                "look at what splits them, agree on what makes an answer better, and rate again."
            )
        if self.alpha.units < ENOUGH:
            return f"{who} rated {self.alpha.units} of the same questions; {ENOUGH} tell how far they agree."
        return ""

    def __str__(self) -> str:
        """The numbers in a line."""
        if math.isnan(self.alpha.value):
            return f"all say the same of {self.alpha.units} questions, so nothing tells agreement from chance"
        kappa = f"Cohen's kappa {self.kappa.value:.2f}, " if self.kappa else ""
        return (
            f"Krippendorff's alpha {self.alpha}, {kappa}Gwet's AC1 {self.ac1.value:.2f}, "
            f"the same on {100 * self.share.value:.0f} %"
        )


def accord(said: Mapping[str, Mapping[Match, str]]) -> Accord | None:
    """Compare what each rater said of each question; None where no two rated the same one."""
    questions = list(dict.fromkeys(match for answers in said.values() for match in answers))
    ratings = [[answers.get(match) for match in questions] for answers in said.values()]
    shared = [sum(rating is not None for rating in given) > 1 for given in zip(*ratings, strict=True)]
    if not any(shared):
        return None
    two = kappa(ratings) if len(ratings) == 2 else None
    return Accord(tuple(said), alpha(ratings), ac1(ratings), percent_agreement(ratings), two)
