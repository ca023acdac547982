"""The rules that read rewards of a reinforcement job, in their order; the first with a verdict decides.

A training reward is not comparable from step to step, as each has other questions; so it is smoothed. Rewards
are taken to lie between 0 and 1, as a grader's do; for others the rules about the ends of that scale say
nothing. A module apart because rewards and losses are two subjects to those who read them.
"""

from workbench.training.curve import Curve
from workbench.training.loss_rules import (
    AZURE_SKILLS,
    LAST_PART,
    Evidence,
    Flag,
    Rule,
    Ruling,
    first_seen,
    insufficient_data,
    no_validation,
)
from workbench.training.trends import FEWEST_VALIDATIONS, Trends

TOO_LOW = 0.05
"""A pass rate below 5 % leaves hardly a group of samples with both right and wrong ones (ours; DAPO 2025)."""
HIGH_AT_ONCE = 0.80
"""The upper end of the pass rates that teach best (ours, after arXiv 2504.03380)."""
FLAT = 0.05
"""Rewards within 5 points from start to end (ours)."""
GAP = 0.10
"""Training over validation reward (azure-skills: above 0.10 stop)."""
LONGER = 3.0
"""Tokens of an answer at the end over the start (azure-skills: twice is normal, three times suspicious)."""
WATCH_GAP = 0.05
"""Of the training reward over the validation reward (azure-skills: to 0.05 healthy, above 0.10 stop)."""
APART = 0.05
"""The training reward rose while the validation reward fell, both by 5 points (ours)."""
LEARNT = 0.05
"""A gain in validation reward that is more than chance on a few dozen questions (ours)."""
STILL_RISING = 0.02
NEAR_HIGHEST = 0.005
"""The validation reward rose by 2 points over the last quarter, and ends within 0.5 of its highest (ours)."""


def no_signal(trends: Trends) -> Ruling | None:
    """The reward is the same all along, at the bottom or at the top of its scale."""
    reward = trends.train
    low, high, start = float(reward.values.min()), float(reward.values.max()), reward.start
    if low < 0 or high > 1 or not high - low < FLAT:
        return None
    if high < TOO_LOW:
        sentence = f"the training reward never rises above {high:.3g}: the grader is broken or too strict"
        return Ruling("no_signal", (Evidence(sentence, high, TOO_LOW, trends.steps, AZURE_SKILLS),))
    if start >= HIGH_AT_ONCE:
        sentence = f"the training reward starts at {start:.3g} and stays there: the grader is too lenient"
        return Ruling("no_signal", (Evidence(sentence, start, HIGH_AT_ONCE, None, AZURE_SKILLS),))
    return None


def reward_hacking(trends: Trends) -> Ruling | None:
    """Training earns what validation does not, or answers only get longer."""
    return first_seen("reward_hacking", trends, _gap, _longer, _apart)


def reward_not_learnt(trends: Trends) -> Ruling | None:
    """The validation reward ends where it began, or below."""
    valid, gain = trends.valid, trends.valid.end - trends.valid.first
    if not gain < LEARNT:
        return None
    sentence = f"the validation reward went from {valid.first:.3g} to {valid.end:.3g}"
    return Ruling("underfitting", (Evidence(sentence, gain, LEARNT, trends.steps),))


def reward_still_rising(trends: Trends) -> Ruling | None:
    """The validation reward was still rising when the run ended."""
    valid = trends.valid
    rise = valid.end - valid.at((1 - LAST_PART) * trends.steps)
    if not rise >= STILL_RISING or not valid.end >= float(valid.values.max()) - NEAR_HIGHEST:
        return None
    sentence = f"the validation reward rose by {rise:.3g} over the last quarter, to {valid.end:.3g}"
    return Ruling("still_improving", (Evidence(sentence, rise, STILL_RISING, trends.steps),))


def reward_learnt(trends: Trends) -> Ruling | None:
    """The validation reward rose, and training did not run ahead of it."""
    valid, gain = trends.valid, trends.valid.end - trends.valid.first
    if not gain >= LEARNT:
        return None
    sentence = f"the validation reward rose from {valid.first:.3g} to {valid.end:.3g}"
    return Ruling("healthy", (Evidence(sentence, gain, LEARNT, trends.steps),))


REWARD_RULES: tuple[Rule, ...] = (
    insufficient_data,
    no_signal,
    reward_hacking,
    no_validation,
    reward_not_learnt,
    reward_still_rising,
    reward_learnt,
)


def _gap(trends: Trends) -> Evidence | None:
    gap = watch_the_gap(trends)
    return gap._replace(threshold=GAP) if gap and gap.value > GAP else None


def _longer(trends: Trends) -> Evidence | None:
    for tokens in trends.tokens:
        if tokens.start > 0 and tokens.end >= LONGER * tokens.start:
            times = tokens.end / tokens.start
            sentence = f"{tokens.name} grew to {times:.3g} times its start: the grader may pay for length"
            return Evidence(sentence, times, LONGER, trends.steps, AZURE_SKILLS)
    return None


def _apart(trends: Trends) -> Evidence | None:
    """Since validation was at its best, training earned more and validation less."""
    train, valid = trends.train, trends.valid
    if not len(valid):
        return None
    best = float(valid.steps[valid.highest])
    lost, won = float(valid.values.max()) - valid.end, train.end - train.at(best)
    if not (lost >= APART and won >= APART):
        return None
    sentence = f"since step {best:.0f} the training reward rose by {won:.2f}, validation's fell by {lost:.2f}"
    return Evidence(sentence, lost, APART, int(best))


def watch_the_gap(trends: Trends) -> Evidence | None:
    """Whether training earns more reward than validation."""
    if not len(trends.train) or not len(trends.valid):
        return None
    gap = trends.train.end - trends.valid.end
    if not gap > WATCH_GAP:
        return None
    sentence = f"training earns {gap:.2f} more reward than validation"
    return Evidence(sentence, gap, WATCH_GAP, trends.steps, AZURE_SKILLS)


REWARD_FLAGS: tuple[Flag, ...] = (watch_the_gap,)


# Of a preference job, whose rewards compare each answer with the reference model's.

DISPLACED = 0.10
"""The share of its start by which the log-probability of the preferred answers fell (ours)."""
DISPLACED_SOURCE = "Razin et al. 2024, likelihood displacement, arXiv 2410.08847; the tenth is ours"
MOST_COMPARED, FEWEST_COMPARED = 5, 3  # points at the start and at the end: each is of another batch


def likelihood_displacement(curve: Curve) -> Evidence | None:
    """Of a preference job: the margin rises, and the preferred answers become less likely all the same."""
    rewards, margins, logps = (
        curve.measured(name) for name in ("rewards/chosen", "rewards/margins", "logps/chosen")
    )
    count = min(MOST_COMPARED, *(len(values) // 2 for values in (rewards, margins, logps)))
    if count < FEWEST_COMPARED:
        return None
    start, end = float(logps.iloc[:count].mean()), float(logps.iloc[-count:].mean())
    before, margin = float(margins.iloc[:count].mean()), float(margins.iloc[-count:].mean())
    # The reward compares each batch with itself, so that easier and harder ones are not taken for a fall.
    if not (margin > before and rewards.iloc[-count:].mean() < 0 and end < (1 + DISPLACED) * start < 0):
        return None
    sentence = (
        f"the margin rose to {margin:.3g}, and the log-probability of the preferred answers fell "
        f"from {start:.4g} to {end:.4g}"
    )
    return Evidence(sentence, end / start - 1, DISPLACED, int(logps.index[-1]), DISPLACED_SOURCE)


IN_ORDER = "full_valid_rewards/accuracies"
IN_ORDER_SOURCE = "Rafailov et al. 2023, arXiv 2305.18290: the loss is -log sigmoid(margin)"


def pairs_in_order(curve: Curve) -> Evidence | None:
    """Of a preference job: every validation pair is in the right order, and only the margin still grows.

    The loss goes on falling with the margin, which is no reason to go on: there is no pair left to put right.
    """
    shares, margins = curve.measured(IN_ORDER), curve.measured("full_valid_rewards/margins")
    if len(shares) < FEWEST_VALIDATIONS or shares.iloc[-1] < 1 or len(margins) < FEWEST_VALIDATIONS:
        return None
    since = int(shares.index[int((shares < 1).to_numpy().nonzero()[0].max(initial=-1)) + 1])
    earlier, end = margins.iloc[:-1].loc[:since], float(margins.iloc[-1])
    if not len(earlier) or not end > (before := float(earlier.iloc[-1])):
        return None
    sentence = (
        f"every validation pair is in the right order since step {since}, and the margin grew from "
        f"{before:.3g} to {end:.3g}"
    )
    return Evidence(sentence, 1.0, None, since, IN_ORDER_SOURCE)
