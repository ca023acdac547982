"""Charts of scores, pass rates and pairs: models as points with intervals, and two kinds of histograms.

Models differ in marker and colour and are named beside each point; the numbers stand below the picture.
"""

import html
import textwrap
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.dataset.dataset import Dataset, counted
from workbench.dataset.preference_pairs import Bias, bias
from workbench.display import Chart
from workbench.evaluation.model_comparison import ModelComparison
from workbench.evaluation.pass_rates import PassRates
from workbench.widgets.curve_chart import BLUE, GREEN, PURPLE, VERMILLION
from workbench.widgets.curve_figure import AXIS, laid_out
from workbench.widgets.svg import GREY, MARKERS, Scale, area, marker, stroke, text

if TYPE_CHECKING:
    import plotly.graph_objects as go

_COLOURS = (GREY, BLUE, VERMILLION, GREEN, PURPLE)
_WIDTH, _LEFT, _RIGHT = 780, 150, 560  # pixels: of the whole, and where the axis begins and ends
_ROW, _HEAD = 26, 44  # of a model, and above a measure's first
_LETTERS = 20  # of a model's name
_LINE = 120  # letters of a line below the heading


def _look(place: int) -> tuple[str, str]:
    return _COLOURS[place % len(_COLOURS)], MARKERS[place % len(MARKERS)]


def _svg(height: float, label: str, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" width="{_WIDTH}" '
        f'height="{height:.0f}" role="img" aria-label="{html.escape(label)}" '
        f'font-family="system-ui, sans-serif" font-size="12" fill="none">{"".join(parts)}</svg>'
    )


@dataclass(frozen=True, repr=False)
class ScoreChart(Chart):
    """Models on the same items, a panel for each measure: points with 95 % intervals, the numbers below."""

    comparison: ModelComparison

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        import plotly.graph_objects as go
        from plotly.subplots import make_subplots

        measured = self.comparison.measured
        titles = [html.escape(measure) for measure in measured]
        built = make_subplots(rows=len(measured), cols=1, shared_xaxes=True, subplot_titles=titles)
        for row, evaluations in enumerate(measured.values(), start=1):
            for place, (name, one) in enumerate(evaluations.items()):
                colour, shape = _look(place)
                low, high = one.interval
                built.add_trace(
                    go.Scatter(
                        x=[one.score],
                        y=[html.escape(name)],
                        name=html.escape(name),
                        mode="markers+text",
                        text=[f"{100 * one.score:.1f} % ({one.interval})"],
                        textposition="top center",
                        marker={"symbol": shape, "size": 11, "color": colour},
                        error_x={
                            "array": [high - one.score],
                            "arrayminus": [one.score - low],
                            "color": colour,
                            "thickness": 2,
                        },
                        showlegend=False,
                    ),
                    row=row,
                    col=1,
                )
        built.update_xaxes(range=[-0.02, 1.02], tickformat=".0%", **AXIS)
        built.update_xaxes(title="score, with its 95 % interval", row=len(measured), col=1)
        models = len(self.comparison.models)
        built.update_yaxes(range=[models - 0.5, -0.9], automargin=True, **AXIS)
        said = textwrap.wrap(self.comparison.verdict, _LINE)
        height = 130 + 60 * models * len(measured)
        return laid_out(built, "The same questions, answered by each model", said, height)

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        x = Scale(0.0, 1.0, _LEFT, _RIGHT)
        parts, top = [], 0.0
        for measure, evaluations in self.comparison.measured.items():
            bottom = top + _HEAD + _ROW * (len(evaluations) - 1) + 14
            parts.append(text(0, top + 18, measure, weight=600))
            for tick in x.ticks(5):
                parts.append(stroke(f"M{x.at(tick):.1f} {top + 28:.1f}V{bottom:.1f}", GREY, 1, opacity=0.25))
                parts.append(text(x.at(tick), bottom + 14, f"{100 * tick:.0f} %", "middle", size=11))
            for place, (name, one) in enumerate(evaluations.items()):
                colour, shape = _look(place)
                y, (low, high) = top + _HEAD + _ROW * place, one.interval
                short = name if len(name) <= _LETTERS else f"{name[: _LETTERS - 1]}…"
                parts.append(text(_LEFT - 14, y + 4, short, "end"))
                parts.append(stroke(f"M{x.at(low):.1f} {y:.1f}H{x.at(high):.1f}", colour, 2))
                parts.append(marker(shape, colour, x.at(one.score), y))
                shown = f"{100 * one.score:.1f} % ({one.interval})"
                parts.append(text(_RIGHT + 14, y + 4, shown))
            top = bottom + 22
        return _svg(top, self.comparison.verdict, parts)

    def __repr__(self) -> str:
        """The verdict."""
        return self.comparison.verdict

    def drawing(self) -> dict[str, object]:
        """The drawing with its numbers, and the verdict for where there are no pictures."""
        below = self.comparison._repr_html_()
        return {"text/html": self.svg + below, "image/svg+xml": self.svg, "text/plain": repr(self)}


def score_chart(comparison: ModelComparison) -> ScoreChart:
    """Show me what each model scores by each measure, with its interval."""
    return ScoreChart(comparison)


# Pass rates of prompts: what a reinforcement job could learn from.

_EDGE, _TOP, _FEET = 20, 70.0, 210.0  # pixels: where the bars begin, and where they end above and below


@dataclass(frozen=True, repr=False)
class PassRateChart(Chart):
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
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        import plotly.graph_objects as go

        bars = self.rates.bars
        built = go.Figure()
        built.add_bar(
            x=[f"{100 * rate:.0f} %" for rate, _ in bars],
            y=[prompts for _, prompts in bars],
            text=[str(prompts) if prompts else "" for _, prompts in bars],
            textposition="outside",
            marker={
                "color": [_at_an_end(rate) for rate, _ in bars],
                "pattern": {"shape": ["/" if rate in (0, 1) else "" for rate, _ in bars]},
            },
            name="prompts",
            hovertemplate="%{y} prompts pass %{x} of the time<extra></extra>",
        )
        built.update_xaxes(title="share of a prompt's answers that pass", **AXIS)
        built.update_yaxes(title="prompts", rangemode="tozero", **AXIS)
        built.update_layout(bargap=0.15)
        return laid_out(built, self.rates.headline, textwrap.wrap(self.words, _LINE), height=330)

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        bars = self.rates.bars
        up = Scale(0.0, max((prompts for _, prompts in bars), default=0) or 1, _FEET, _TOP)
        wide = (_RIGHT - _EDGE) / len(bars)
        parts = [text(0, 16, self.rates.headline, weight=600, size=15)]
        parts += [text(0, 36, self.words), stroke(f"M{_EDGE} {_FEET}H{_RIGHT}", GREY, 1, opacity=0.5)]
        for place, (rate, prompts) in enumerate(bars):
            left, top = _EDGE + place * wide, up.at(prompts)
            path = f"M{left + 2:.1f} {_FEET}V{top:.1f}h{wide - 4:.1f}V{_FEET}z"
            parts.append(area(path, _at_an_end(rate), 0.85))
            parts.append(text(left + wide / 2, _FEET + 16, f"{100 * rate:.0f} %", "middle", size=11))
            if prompts:
                parts.append(text(left + wide / 2, top - 5, str(prompts), "middle", weight=600))
        below = "share of a prompt's answers that pass; on the bars the number of prompts"
        parts.append(text((_EDGE + _RIGHT) / 2, _FEET + 38, below, "middle"))
        return _svg(_FEET + 48, f"{self.rates.headline}. {self.words}", parts)

    def __repr__(self) -> str:
        """The headline, the sentence, and a line for each bar."""
        lines = [
            f"{100 * rate:3.0f} % pass: {prompts} prompts" for rate, prompts in self.rates.bars if prompts
        ]
        return "\n".join((self.rates.headline, self.words, *lines))

    def drawing(self) -> dict[str, object]:
        """The drawing, and the numbers of its bars for where there are no pictures."""
        return {"image/svg+xml": self.svg, "text/plain": repr(self)}


def pass_rate_chart(rates: PassRates) -> PassRateChart:
    """Show me how the pass rates of the prompts are distributed."""
    return PassRateChart(rates)


def _at_an_end(rate: float) -> str:
    return VERMILLION if rate in (0, 1) else BLUE


# The lengths of pairs: what a model could learn in place of quality.

_BARS = 24
_BASE = 164.0  # pixels from the top to the feet of the bars


@dataclass(frozen=True, repr=False)
class LengthChart(Chart):
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
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        import plotly.graph_objects as go

        built = go.Figure(
            go.Bar(
                x=[(low + high) / 2 for low, high, _ in self.bars],
                y=[count for *_, count in self.bars],
                width=[high - low for low, high, _ in self.bars],
                marker={"color": [BLUE if low >= 0 else VERMILLION for low, *_ in self.bars]},
                hovertemplate="%{y} pairs<extra></extra>",
            )
        )
        built.add_vline(x=0, line={"color": GREY, "dash": "dot", "width": 1})
        built.update_xaxes(title="characters by which the preferred answer is longer", **AXIS)
        built.update_yaxes(title="pairs", rangemode="tozero", **AXIS)
        return laid_out(built, "How long preferred answers are", (self.words,), 360)

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        bars = self.bars
        x = Scale(min(bars[0][0], 0.0), max(bars[-1][1], 1.0), 40, _WIDTH - 40)
        y = Scale(0.0, max(count for *_, count in bars) or 1, _BASE, 44)
        parts = [text(0, 15, "How much longer the preferred answer is, in characters", weight=600)]
        for low, high, count in bars:
            if count:
                left, right, top = x.at(low) + 0.5, x.at(high) - 0.5, y.at(count)
                path = f"M{left:.1f} {_BASE}V{top:.1f}H{right:.1f}V{_BASE}z"
                parts.append(area(path, BLUE if low >= 0 else VERMILLION, 0.8))
                parts.append(text((left + right) / 2, top - 4, f"{count}", "middle", size=10))
        parts.append(stroke(f"M{x.at(0):.1f} 38V{_BASE}", GREY, 1, dash="2 3"))
        parts += [text(x.at(tick), _BASE + 16, f"{tick:g}", "middle", size=11) for tick in x.ticks(8, 1.0)]
        parts += [text(x.at(0) - 8, _BASE + 34, "← the rejected is longer", "end", size=11)]
        parts += [text(x.at(0) + 8, _BASE + 34, "the preferred is longer →", size=11)]
        return _svg(_BASE + 44, self.words, parts)

    def __repr__(self) -> str:
        """The sentence."""
        return self.words

    def drawing(self) -> dict[str, object]:
        """The drawing with its sentence and the other findings, and the sentence alone as text."""
        below = f"<p>{html.escape(self.words)}</p>{self.bias._repr_html_()}"
        return {"text/html": self.svg + below, "image/svg+xml": self.svg, "text/plain": repr(self)}


def length_chart(pairs: Dataset) -> LengthChart:
    """Show me whether the preferred answers are simply the longer ones, and what else they have in common."""
    return LengthChart(bias(pairs))
