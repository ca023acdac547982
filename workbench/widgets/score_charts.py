"""Charts of scores: models, slices and labels with their intervals, failures and probes by kind.

Also how pass rates and the lengths of pairs are spread. Models and outcomes differ in marker as well as in
colour, and each has its name and its numbers beside it. What a chart is drawn from stands below it, folded.
"""

import textwrap
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from typing import NamedTuple

from workbench.dataset.dataset import Dataset, counted
from workbench.dataset.preference_pairs import Bias, bias
from workbench.display import folded, safe, table
from workbench.evaluation.compare import Comparison, points
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.failures import Failures
from workbench.evaluation.model_comparison import ModelComparison
from workbench.evaluation.pass_rates import PassRates
from workbench.evaluation.probes import Forgetting
from workbench.evaluation.slices import Confusion, Slice, Slices
from workbench.evaluation.statistics import Interval
from workbench.widgets.cost_charts import why_so_wide
from workbench.widgets.curve_chart import BLUE, GREEN, PURPLE, VERMILLION
from workbench.widgets.svg import (
    GREY,
    LETTER,
    MARKERS,
    WIDTH,
    Scale,
    StaticChart,
    area,
    cut,
    large,
    picture,
    stroke,
    titled,
)
from workbench.widgets.svg import text as written

text = partial(written, size=13)  # 12 pixels where the chart is 600 pixels wide

_COLOURS = (GREY, BLUE, VERMILLION, GREEN, PURPLE)
_LEFT, _RIGHT = 176, 424  # units: where the axis of a forest plot begins and ends
_ROW, _HEAD = 26, 40  # of a value, and above a panel's first


# Forest plots: a row for each value, with its interval on a common axis and its numbers on the right.


class Mark(NamedTuple):
    """A row: its name, the value with its interval as shares, the words beside it, colour and marker."""

    name: str
    value: float
    interval: Interval
    words: str
    colour: str
    shape: str


class ForestPanel(NamedTuple):
    """Rows on one axis: scores from 0 to 100 %, or differences in points around 0."""

    title: str
    marks: Sequence[Mark]
    differences: bool = False
    minimum: float = 0.0
    """Differences smaller than this do not matter: a band around 0."""


def forest(words: str, panels: Sequence[ForestPanel], *, names_above: bool = False) -> str:
    """Draw the panels below each other; ``words`` say the same.

    Marks of one name that follow each other share a row, with the words of the first. Names stand on the
    left, or above the axis, which is then as wide as the picture.
    """
    left, right, row, head = (16, WIDTH - 20, 44, 60) if names_above else (_LEFT, _RIGHT, _ROW, _HEAD)
    parts: list[str] = []
    top = 0.0
    for panel in panels:
        x = _axis(panel, left, right)
        rows = [(name, [*marks]) for name, marks in groupby(panel.marks, key=lambda mark: mark.name)]
        bottom = top + head + row * (len(rows) - 1) + 14
        parts.append(text(0, top + 14, panel.title, weight=600))
        if panel.minimum:
            band = f"M{x.at(-panel.minimum):.1f} {top + 26:.1f}V{bottom:.1f}H{x.at(panel.minimum):.1f}"
            parts.append(area(f"{band}V{top + 26:.1f}z", GREY, 0.25))
        for tick in x.ticks(4):
            is_zero = panel.differences and abs(tick) < 1e-9
            down = f"M{x.at(tick):.1f} {top + 26:.1f}V{bottom:.1f}"
            parts.append(stroke(down, GREY, 1.5 if is_zero else 1, opacity=1.0 if is_zero else 0.3))
            shown = points(tick).removesuffix(".0") if panel.differences else f"{100 * tick:.0f} %"
            parts.append(text(x.at(tick), bottom + 15, "0" if is_zero else shown, "middle"))
        for place, (name, marks) in enumerate(rows):
            y, beside = top + head + row * place, marks[0].words
            if names_above:
                fitting = cut(name, right - left - LETTER * (len(beside) + 4))
                parts.append(titled(name, text(left + 6, y - 12, fitting)))
                parts.append(text(right - 6, y - 12, beside, "end", weight=600))
            else:
                parts.append(titled(name, text(left - 12, y + 4, cut(name, left - 12), "end")))
                parts.append(text(right + 12, y + 4, beside))
            places = sorted(x.at(mark.value) for mark in marks)
            if len(marks) > 1:
                parts.append(stroke(f"M{places[0]:.1f} {y:.1f}H{places[-1]:.1f}", GREY, 1.5))
            for mark in marks:
                low, high = map(x.at, mark.interval)
                parts.append(stroke(f"M{low:.1f} {y:.1f}H{high:.1f}", mark.colour, 2.5))
                parts.append(large(mark.shape, mark.colour, x.at(mark.value), y))
        top = bottom + 34
    return picture(top - 12, words, parts)


def _axis(panel: ForestPanel, left: float, right: float) -> Scale:
    if not panel.differences:
        return Scale(0.0, 1.0, left, right)
    ends = [end for mark in panel.marks for end in mark.interval]
    low, high = min(-0.05, *ends, -panel.minimum), max(0.05, *ends, panel.minimum)
    margin = 0.04 * (high - low)
    return Scale(low - margin, high + margin, left, right)


def _scored(name: str, one: Evaluation, colour: str, shape: str) -> Mark:
    low, high = (f"{100 * end:.0f}" for end in one.interval)
    return Mark(name, one.score, one.interval, f"{100 * one.score:.1f} % ({low} to {high})", colour, shape)


@dataclass(frozen=True, repr=False)
class ScoreChart(StaticChart):
    """Models on the same items, a panel for each measure: points with 95 % intervals, the numbers below."""

    comparison: ModelComparison

    @property
    def svg(self) -> str:
        """A panel for each measure."""
        panels = [
            ForestPanel(
                measure,
                [
                    _scored(name, one, _COLOURS[n % len(_COLOURS)], MARKERS[n % len(MARKERS)])
                    for n, (name, one) in enumerate(models.items())
                ],
            )
            for measure, models in self.comparison.measured.items()
        ]
        return forest(self.comparison.verdict, panels)

    @property
    def above(self) -> str:
        """The outcome and the scores in a line."""
        return _headed(self.comparison)

    @property
    def below(self) -> str:
        """The verdict with the numbers, folded."""
        return folded("The verdict in full, with all numbers", self.comparison._repr_html_())

    def __repr__(self) -> str:
        """The verdict."""
        return self.comparison.verdict


_SIGNS = {"better": "✓", "worse": "✕", "inconclusive": "?"}
_SIGNS |= {"reached, and nothing lost": "✓", "not reached": "✕", "not shown": "?"}


def _headed(compared: ModelComparison | Comparison) -> str:
    style = "font-size:1.25em;font-weight:600;line-height:1.4;max-width:46em"
    sign = _SIGNS.get(compared.outcome, "≈")
    return f'<p class="mathjax_ignore" style="{style}">{sign} {safe(compared.headline)}</p>'


def score_chart(comparison: ModelComparison) -> ScoreChart:
    """Show me what each model scores by each measure, with its interval."""
    return ScoreChart(comparison)


# Base against tuned: the verdict, the scores of all candidates, and the difference.

_LOOKS = {"better": (GREEN, "triangle-up"), "worse": (VERMILLION, "triangle-down")}
_UNSHOWN = (GREY, "circle")


@dataclass(frozen=True, repr=False)
class ComparisonChart(StaticChart):
    """The tuned model beside all that was asked on the same items, and its difference to the base model."""

    comparison: Comparison
    others: Mapping[str, Evaluation] = field(default_factory=dict)
    """What else was asked, by name; of other items nothing is shown."""

    @property
    def candidates(self) -> dict[str, Evaluation]:
        """All that is shown, on the items that count: the tuned model, the base model, the others."""
        base, tuned = self.comparison.base, self.comparison.tuned
        ids = {item.id for item in base.items}
        found = {f"tuned, {tuned.prompt.name}": tuned, f"base, {base.prompt.name}": base}
        compared = (base.model, base.prompt), (tuned.model, tuned.prompt)
        for name, other in self.others.items():
            same = tuple(item for item in other.items if item.id in ids)
            if len(same) == len(ids) and (other.model, other.prompt) not in compared:
                whose = "base, " if other.model == base.model else ""
                found[f"{whose}{name}"] = replace(other, items=same)
        return found

    @property
    def svg(self) -> str:
        """Scores above, the difference below."""
        marks = [
            _scored(
                name, one, *((BLUE, "diamond") if place == 0 else (GREY, "circle" if place == 1 else "x"))
            )
            for place, (name, one) in enumerate(self.candidates.items())
        ]
        made = [self.comparison, *self.comparison.also]
        differences = [_difference(each, "tuned − base" if len(made) == 1 else None) for each in made]
        minimum, items = self.comparison.minimum, counted(self.comparison.items, "item")
        shares = "Right answers" if self.comparison.found.right_or_wrong else "Mean score"
        band = f"Difference in points; in the grey band, up to {100 * minimum:g} points, it does not matter"
        panels = [
            ForestPanel(f"{shares} on {items}, with 95 % intervals", marks),
            ForestPanel(band, differences, differences=True, minimum=minimum),
        ]
        return forest(self.comparison.headline, panels)

    @property
    def above(self) -> str:
        """The verdict in a sentence."""
        return _headed(self.comparison)

    @property
    def below(self) -> str:
        """Why an interval may be wide; then the full verdict and ten examples, folded."""
        *numbers, examples = self.comparison.tables()
        whole = "".join(table(*each) for each in numbers if each[2])
        shown = folded(f"Examples: {examples[0]}", table(*examples)) if examples[2] else ""
        certain = any(one.correct in (0, len(one.graded)) for one in self.candidates.values())
        why = why_so_wide(self.comparison.base) if certain else ""
        return why + folded("The verdict in full, with all numbers", whole) + shown

    def __repr__(self) -> str:
        """The verdict in a sentence."""
        return self.comparison.headline


def _difference(compared: Comparison, name: str | None) -> Mark:
    low, high = (points(end) for end in compared.interval)
    words = f"{points(compared.difference)} ({low} to {high})"
    looks = _LOOKS.get(compared.outcome, _UNSHOWN)
    return Mark(name or compared.tuned.model, compared.difference, compared.interval, words, *looks)


def comparison_chart(
    comparison: Comparison, others: Mapping[str, Evaluation] | None = None
) -> ComparisonChart:
    """Show me the verdict, and the tuned model beside the base model and all ``others`` that were asked."""
    return ComparisonChart(comparison, others or {})


# Slices: where the tuned model is better and where worse; and which labels are confused.


@dataclass(frozen=True, repr=False)
class SliceChart(StaticChart):
    """The difference in each slice with its interval; where answers are labels, two confusion matrices."""

    slices: Slices

    @property
    def svg(self) -> str:
        """A panel for each column."""
        panels = [
            ForestPanel(
                f"By {column}: tuned − base in points (base → tuned, number of items)",
                [_sliced(each) for each in self.slices.slices if each.column == column],
                differences=True,
            )
            for column in self.slices.columns
        ]
        return forest(self.slices.verdict, panels)

    @property
    def above(self) -> str:
        """Where it is worse, better and weakest."""
        return f'<p class="mathjax_ignore">{safe(self.slices.verdict)}</p>'

    @property
    def below(self) -> str:
        """The matrices, and the numbers of the slices, folded."""
        matrices = "".join(map(matrix, self.slices.confusion))
        if not self.slices.slices:
            return matrices
        return matrices + folded("The numbers, corrected for so many slices", self.slices._repr_html_())

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        if self.slices.slices:
            return super()._repr_mimebundle_()
        return {"text/html": self.above + self.below, "text/plain": repr(self)}

    def __repr__(self) -> str:
        """Where it is worse, better and weakest, and what is confused most."""
        return "\n".join((self.slices.verdict, *map(_confused, self.slices.confusion)))


def _sliced(each: Slice) -> Mark:
    outcome = each.outcome if each.found.testable else "few clusters"
    words = f"{100 * each.base:.0f} → {100 * each.tuned:.0f} % ({each.found.items:,}), {outcome}"
    return Mark(each.value, each.found.value, each.interval, words, *_LOOKS.get(each.outcome, _UNSHOWN))


def slice_chart(slices: Slices) -> SliceChart:
    """Show me where the tuned model is better and where it is worse, and what it confuses."""
    return SliceChart(slices)


MOST_LABELS = 12  # in a matrix; of more, the most frequent mistakes are listed
_RIGHT_ALIGNED = 'style="text-align:right;vertical-align:top;white-space:nowrap"'


def matrix(confusion: Confusion) -> str:
    """Which label was given for which, as a table whose cells are the darker the more there are."""
    labels, counts = confusion.labels, confusion.counts
    if len(labels) > MOST_LABELS:
        wrong = sorted((-n, *pair) for pair, n in counts.items() if pair[0] != pair[1])
        rows = [(right, said or "no label", -n) for n, right, said in wrong[:MOST_LABELS]]
        caption = f"{_confused(confusion)} The most frequent mistakes:"
        return table(caption, ("right answer", "model's answer", "times"), rows)
    columns = (*labels, *([""] if any(said == "" for _, said in counts) else []))
    head = "".join(f'<th scope="col" {_RIGHT_ALIGNED}>{safe(said or "no label")}</th>' for said in columns)
    body = ""
    for right in labels:
        row = {said: counts.get((right, said), 0) for said in columns}
        cells = "".join(_cell(n, sum(row.values()), is_right=said == right) for said, n in row.items())
        body += f'<tr><th scope="row" {_RIGHT_ALIGNED}>{safe(right)}</th>{cells}</tr>'
    caption = f"{confusion.name}: rows the right answer, columns the model's answer; bold: right"
    return (
        f'<p class="mathjax_ignore">{safe(_confused(confusion))}</p><div style="overflow-x:auto">'
        f'<table class="mathjax_ignore"><caption style="text-align:left">{safe(caption)}</caption>'
        f"<thead><tr><td></td>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _cell(number: int, of: int, *, is_right: bool) -> str:
    share = number / of if of else 0.0
    shade = f"background:rgba({'0,114,178' if is_right else '213,94,0'},{0.5 * share:.2f})"
    weight = "font-weight:700;" if is_right else ""
    hint = f"{100 * share:.0f} % of {of}"
    return f'<td title="{hint}" style="{shade};{weight}text-align:right">{number or ""}</td>'


def _confused(confusion: Confusion) -> str:
    if confusion.worst is None:
        return f"The {confusion.name} model confuses no labels."
    (right, said), times = confusion.worst
    given = f"“{said}”" if said else "no label"
    return f"The {confusion.name} model's most frequent mistake: {given} for “{right}”, {times} times."


# Failures by kind, and probes by category: bars with their numbers above them.

_BAR, _THICK = 46, 9  # units: from one row to the next, and of a bar


def _bars(top: float, name: str, words: str, bars: Sequence[tuple[float, str]]) -> list[str]:
    """A line of words, and below it bars of these shares of the width in these colours."""
    parts = [text(0, top + 14, name, weight=600), text(WIDTH, top + 14, words, "end")]
    for place, (share, colour) in enumerate(bars):
        y = top + 24 + (_THICK + 2) * place
        parts.append(stroke(f"M0 {y:.1f}H{WIDTH}", GREY, _THICK, opacity=0.18))
        if share > 0:
            parts.append(stroke(f"M0 {y:.1f}H{share * WIDTH:.1f}", colour, _THICK))
    return parts


@dataclass(frozen=True, repr=False)
class FailureChart(StaticChart):
    """What is wrong with the wrong answers: a bar for each kind, those that nobody labelled last."""

    failures: Failures

    @property
    def svg(self) -> str:
        """A bar for each kind."""
        counts, of = self.failures.counts, max(len(self.failures.items), 1)
        parts: list[str] = []
        for place, (kind, number, by, _) in enumerate(counts):
            words = f"{number} of {of}, {100 * number / of:.0f} %" + (f", labelled by {by}" if by else "")
            parts += _bars(_BAR * place, kind, words, [(number / of, BLUE if by else GREY)])
        return picture(max(_BAR * len(counts), 1), self.failures.summary, parts)

    @property
    def above(self) -> str:
        """How many failures there are, of which model with which prompt."""
        return f'<p class="mathjax_ignore"><b>{safe(self.failures.summary)}</b></p>'

    @property
    def below(self) -> str:
        """What each kind means."""
        each = (f"<b>{safe(count.kind)}</b>: {safe(count.meaning)}" for count in self.failures.counts)
        return f'<p class="mathjax_ignore">{"<br>".join(each)}</p>'

    def __repr__(self) -> str:
        """How many there are, and of which kind."""
        lines = (f"{each.kind}: {each.number}" for each in self.failures.counts)
        return "\n".join((self.failures.summary, *lines))


def failure_chart(failures: Failures) -> FailureChart:
    """Show me of which kinds the failures are."""
    return FailureChart(failures)


_KEPT = {"not worse": "kept", "worse": "lost", "inconclusive": "not shown"}


@dataclass(frozen=True, repr=False)
class ProbeChart(StaticChart):
    """Probes answered rightly before and after, a pair of bars for each category."""

    forgetting: Forgetting

    @property
    def svg(self) -> str:
        """Grey bars before, blue ones after, orange where more than the margin was lost."""
        rows = {**self.forgetting.categories, "all": self.forgetting.whole}
        parts = [text(0, 14, "Right answers; upper bar: base model, lower bar: tuned model")]
        for place, (name, found) in enumerate(rows.items()):
            compared = found.comparison
            before, after, of = compared.base.correct, compared.tuned.correct, compared.items
            after_in = VERMILLION if found.outcome == "worse" else BLUE
            words = f"{before} → {after} of {of}: {_KEPT[found.outcome]}"
            bars = [(before / of, GREY), (after / of, after_in)]
            parts += _bars(24 + (_BAR + 8) * place, name, words, bars)
        return picture(24 + (_BAR + 8) * len(rows), self.forgetting.verdict, parts)

    @property
    def above(self) -> str:
        """The verdict, and what the words beside the bars mean."""
        margin = f"{100 * self.forgetting.whole.margin:g} points"
        meaning = (
            f"Kept: shown to have lost less than {margin}. Lost: shown to have lost more. Not shown: too few "
            "probes to tell."
        )
        return f'<p class="mathjax_ignore">{safe(self.forgetting.verdict)}</p><p>{meaning}</p>'

    @property
    def below(self) -> str:
        """The numbers and some probes that were lost, folded."""
        return folded("The numbers, and probes that were lost", self.forgetting._repr_html_())

    def __repr__(self) -> str:
        """The verdict, then each category."""
        return repr(self.forgetting)


def probe_chart(forgetting: Forgetting) -> ProbeChart:
    """Show me what the tuned model still answers of what it was not trained on."""
    return ProbeChart(forgetting)


# Pass rates of prompts: what a reinforcement job could learn from.

_LINE = 86  # letters
_EDGE, _TOP, _FEET = 10, 84.0, 224.0  # pixels: where the bars begin, and where they end above and below


@dataclass(frozen=True, repr=False)
class PassRateChart(StaticChart):
    """A histogram: how many prompts have which pass rate; those at the ends teach nothing."""

    rates: PassRates

    @property
    def words(self) -> str:
        """What the bars say: prompts at both ends, and in between."""
        rates = self.rates
        never, always, prompts = len(rates.never), len(rates.always), len(rates.by_prompt)
        return (
            f"Of {prompts} prompts {never} never pass and {always} always do (orange); "
            f"{prompts - never - always} lie in between and can teach (blue)."
        )

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        bars = self.rates.bars
        up = Scale(0.0, max((prompts for _, prompts in bars), default=0) or 1, _FEET, _TOP)
        wide = (WIDTH - 2 * _EDGE) / len(bars)
        parts = [text(0, 16, self.rates.headline, weight=600, size=15)]
        lines = enumerate(textwrap.wrap(self.words, _LINE))
        parts += [text(0, 36 + 17 * number, line) for number, line in lines]
        parts.append(stroke(f"M{_EDGE} {_FEET}H{WIDTH - _EDGE}", GREY, 1, opacity=0.5))
        for place, (rate, prompts) in enumerate(bars):
            left, top = _EDGE + place * wide, up.at(prompts)
            path = f"M{left + 2:.1f} {_FEET}V{top:.1f}h{wide - 4:.1f}V{_FEET}z"
            parts.append(area(path, _at_an_end(rate), 0.85))
            parts.append(text(left + wide / 2, _FEET + 16, f"{100 * rate:.0f} %", "middle"))
            if prompts:
                parts.append(text(left + wide / 2, top - 5, str(prompts), "middle", weight=600))
        below = "share of a prompt's answers that pass; on the bars the number of prompts"
        parts.append(text(WIDTH / 2, _FEET + 38, below, "middle"))
        return picture(_FEET + 48, f"{self.rates.headline}. {self.words}", parts)

    def __repr__(self) -> str:
        """The headline, the sentence, and a line for each bar."""
        lines = [
            f"{100 * rate:3.0f} % pass: {prompts} prompts" for rate, prompts in self.rates.bars if prompts
        ]
        return "\n".join((self.rates.headline, self.words, *lines))


def pass_rate_chart(rates: PassRates) -> PassRateChart:
    """Show me how the pass rates of the prompts are distributed."""
    return PassRateChart(rates)


def _at_an_end(rate: float) -> str:
    return VERMILLION if rate in (0, 1) else BLUE


# The lengths of pairs: what a model could learn in place of quality.

_BARS = 24
_BASE = 164.0  # pixels from the top to the feet of the bars


@dataclass(frozen=True, repr=False)
class LengthChart(StaticChart):
    """How much longer preferred answers are than rejected ones, in characters, as a histogram."""

    bias: Bias

    @property
    def words(self) -> str:
        """What is shown, in a sentence."""
        found = self.bias
        share, p = found.share_longer, found.p_longer
        if share is None or p is None:
            return f"All {counted(found.pairs, 'pair')} have answers of equal length."
        said = (
            "Length is preferred, so the model may learn to be long; add pairs in which the shorter is better"
            if found.is_long
            else "Length alone does not tell which answer is preferred"
        )
        chance = f"p = {p:.2g}" if p >= 0.001 else "p < 0.001"
        of = counted(found.longer + found.shorter, "pair")
        return (
            f"{said}: the preferred answer is the longer one in {share:.0%} of {of} that differ ({chance})."
        )

    @property
    def bars(self) -> list[tuple[float, float, int]]:
        """Of each bar where it begins and ends, in characters, and how many pairs it has.

        A difference d lies in the bar that ends at d or beyond; pairs of equal length are in none.
        """
        most = max(map(abs, self.bias.differences), default=0)
        width = max(1, -(-2 * most // _BARS))
        counts = Counter(
            (difference - 1) // width if difference > 0 else -((-difference - 1) // width) - 1
            for difference in self.bias.differences
            if difference
        )
        return [
            (place * width, (place + 1) * width, counts[place])
            for place in range(min(counts, default=0), max(counts, default=0) + 1)
        ]

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        bars = self.bars
        x = Scale(min(bars[0][0], 0.0), max(bars[-1][1], 1.0), 40, WIDTH - 40)
        y = Scale(0.0, max(count for *_, count in bars) or 1, _BASE, 44)
        parts = [text(0, 15, "How much longer the preferred answer is, in characters", weight=600)]
        for low, high, count in bars:
            if count:
                left, right, top = x.at(low) + 0.5, x.at(high) - 0.5, y.at(count)
                path = f"M{left:.1f} {_BASE}V{top:.1f}H{right:.1f}V{_BASE}z"
                parts.append(area(path, BLUE if low >= 0 else VERMILLION, 0.8))
                parts.append(text((left + right) / 2, top - 4, f"{count}", "middle"))
        parts.append(stroke(f"M{x.at(0):.1f} 38V{_BASE}", GREY, 1, dash="2 3"))
        parts += [text(x.at(tick), _BASE + 16, f"{tick:g}", "middle") for tick in x.ticks(8, 1.0)]
        parts += [text(x.at(0) - 8, _BASE + 34, "← the rejected is longer", "end")]
        parts += [text(x.at(0) + 8, _BASE + 34, "the preferred is longer →")]
        return picture(_BASE + 44, self.words, parts)

    def __repr__(self) -> str:
        """The sentence."""
        return self.words

    @property
    def below(self) -> str:
        """The sentence, and what else the preferred answers have in common."""
        return f"<p>{safe(self.words)}</p>{self.bias._repr_html_()}"


def length_chart(pairs: Dataset) -> LengthChart:
    """Show me whether the preferred answers are simply the longer ones, and what else they have in common."""
    return LengthChart(bias(pairs))
