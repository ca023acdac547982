"""Charts of scores: how pass rates are distributed over prompts, and models side by side with intervals.

Each is interactive where a front end has Plotly, else an SVG, else words; the numbers stand on the bars.
"""

import html
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.display import Chart
from workbench.errors import DataError
from workbench.evaluation.evaluation import Evaluation
from workbench.evaluation.pass_rates import PassRates
from workbench.widgets.curve_chart import BLUE, VERMILLION
from workbench.widgets.curve_figure import AXIS, laid_out
from workbench.widgets.svg import GREY, MARKERS, Scale, area, marker, printable, stroke, text

if TYPE_CHECKING:
    import plotly.graph_objects as go

_WIDTH, _LEFT, _RIGHT, _LINE = 640, 60, 620, 18
_HEIGHT, _LETTERS = 170, 92
_NAMES = 190  # pixels for the names of models


@dataclass(frozen=True, repr=False)
class PassRateChart(Chart):
    """A histogram: how many prompts have which pass rate; those at the ends teach nothing."""

    rates: PassRates

    @property
    def heading(self) -> str:
        """Whether a job can start."""
        return {
            "cannot start": "Reinforcement cannot start",
            "can start": "Reinforcement can start, and will learn slowly",
            "good": "Reinforcement can start",
        }[self.rates.level]

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
                "color": [_colour(rate) for rate, _ in bars],
                "pattern": {"shape": ["/" if rate in (0, 1) else "" for rate, _ in bars]},
            },
            name="prompts",
            hovertemplate="%{y} prompts pass %{x} of the time<extra></extra>",
        )
        built.update_xaxes(title="share of a prompt's answers that pass", **AXIS)
        built.update_yaxes(title="prompts", rangemode="tozero", **AXIS)
        built.update_layout(bargap=0.15)
        return laid_out(built, self.heading, textwrap.wrap(self.words, _LETTERS), height=330)

    def drawing(self) -> dict[str, object]:
        """The same as SVG and as words."""
        return {"image/svg+xml": _svg(self.heading, self.words, self._bars()), "text/plain": repr(self)}

    def __repr__(self) -> str:
        """The heading, the sentence, and a line for each bar."""
        lines = [
            f"{100 * rate:3.0f} % pass: {prompts} prompts" for rate, prompts in self.rates.bars if prompts
        ]
        return "\n".join((self.heading, self.words, *lines))

    def _bars(self) -> Iterator[str]:
        bars = self.rates.bars
        up = Scale(0, max((prompts for _, prompts in bars), default=0) or 1, _HEIGHT, 22)
        wide = (_RIGHT - _LEFT) / len(bars)
        yield stroke(f"M{_LEFT} {_HEIGHT}H{_RIGHT}", GREY, 1, opacity=0.5)
        yield text(_LEFT - 8, _HEIGHT, "prompts", "end")
        for place, (rate, prompts) in enumerate(bars):
            x, y = _LEFT + place * wide, up.at(prompts)
            middle = x + wide / 2
            bar = f"M{x + 2:.1f} {_HEIGHT}V{y:.1f}h{wide - 4:.1f}V{_HEIGHT}z"
            yield area(bar, _colour(rate), 1)
            yield text(middle, _HEIGHT + 16, f"{100 * rate:.0f} %", "middle")
            if prompts:
                yield text(middle, y - 5, str(prompts), "middle", weight=600)
        yield text((_LEFT + _RIGHT) / 2, _HEIGHT + 36, "share of a prompt's answers that pass", "middle")


def pass_rate_chart(rates: PassRates) -> PassRateChart:
    """Show me how the pass rates of the prompts are distributed."""
    return PassRateChart(rates)


@dataclass(frozen=True, repr=False)
class ScoreChart(Chart):
    """Models on the same questions, by the same grader: a dot for the score, a bar for its 95 % interval."""

    evaluations: Mapping[str, Evaluation]

    @property
    def heading(self) -> str:
        """By which grader, on how many questions."""
        first = next(iter(self.evaluations.values()))
        return f"Score by {first.grader['name']} on {len(first.items)} questions, with its 95 % interval"

    @property
    def lines(self) -> list[str]:
        """A line a model: its name, the score, the interval."""
        return [f"{name}: {_scored(measured)}" for name, measured in self.evaluations.items()]

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        import plotly.graph_objects as go

        built = go.Figure()
        for place, (name, measured) in enumerate(self.evaluations.items()):
            low, high = measured.interval
            built.add_scatter(
                x=[measured.score],
                y=[html.escape(name)],
                mode="markers+text",
                text=[f"{100 * measured.score:.1f} %"],
                textposition="top center",
                marker={"size": 11, "symbol": MARKERS[place % len(MARKERS)], "color": _of(place)},
                error_x={"array": [high - measured.score], "arrayminus": [measured.score - low]},
                name=html.escape(name),
                hovertemplate=f"{html.escape(name)}: {_scored(measured)}<extra></extra>",
            )
        built.update_xaxes(range=[0, 1], tickformat=".0%", **AXIS)
        built.update_yaxes(autorange="reversed", **AXIS)
        built.update_layout(showlegend=False)
        return laid_out(built, self.heading, (), height=150 + 55 * len(self.evaluations))

    def drawing(self) -> dict[str, object]:
        """The same as SVG and as words."""
        words = "; ".join(self.lines)
        return {"image/svg+xml": _svg(self.heading, "", self._dots(), words), "text/plain": repr(self)}

    def __repr__(self) -> str:
        """The heading and the lines."""
        return "\n".join((self.heading, *self.lines))

    def _dots(self) -> Iterator[str]:
        x = Scale(0.0, 1.0, _NAMES, _RIGHT - 60)
        bottom = 20 + 34 * len(self.evaluations)
        for tick in (0.0, 0.25, 0.5, 0.75, 1.0):
            yield stroke(f"M{x.at(tick):.1f} 6V{bottom}", GREY, 1, opacity=0.2)
            yield text(x.at(tick), bottom + 16, f"{100 * tick:.0f} %", "middle")
        for place, (name, measured) in enumerate(self.evaluations.items()):
            y, (low, high) = 24.0 + 34 * place, measured.interval
            yield text(_NAMES - 12, y + 4, name if len(name) <= 28 else f"{name[:27]}…", "end")
            if measured.graded:
                yield stroke(f"M{x.at(low):.1f} {y}H{x.at(high):.1f}", _of(place), 2)
                yield marker(MARKERS[place % len(MARKERS)], _of(place), x.at(measured.score), y)
                yield text(x.at(high) + 8, y + 4, f"{100 * measured.score:.1f} %", weight=600)


def score_chart(evaluations: Mapping[str, Evaluation]) -> ScoreChart:
    """Show me these models' scores on the same questions; ``DataError`` where they are not comparable."""
    if not evaluations:
        raise DataError("There is no evaluation to show; give one for each model by its name.")
    asked = {tuple(item.id for item in each.items) for each in evaluations.values()}
    graders = {repr(sorted(each.grader.items(), key=str)) for each in evaluations.values()}
    if len(asked) > 1 or len(graders) > 1:
        raise DataError(
            "These evaluations are of other questions or graders; evaluate all on one test by one."
        )
    return ScoreChart(dict(evaluations))


def _scored(measured: Evaluation) -> str:
    if not measured.graded:
        return "nothing could be graded"
    return f"{100 * measured.score:.1f} % ({measured.interval} %)"


def _colour(rate: float) -> str:
    return VERMILLION if rate in (0, 1) else BLUE


def _of(place: int) -> str:
    return (GREY, BLUE, VERMILLION)[place % 3]


def _svg(heading: str, words: str, parts: Iterator[str], described: str = "") -> str:
    """Put the drawing under its heading and its sentence."""
    above = [text(0, 15, heading, weight=600, size=14)]
    lines = textwrap.wrap(words, _LETTERS)
    above += [text(0, 15 + _LINE * number, line) for number, line in enumerate(lines, 1)]
    top = 22 + _LINE * len(lines)
    label = html.escape(printable(f"{heading}. {words or described}"))
    drawn = list(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top + 215}" width="{_WIDTH}" '
        f'height="{top + 215}" role="img" aria-label="{label}" font-family="system-ui, sans-serif" '
        f'fill="none"><title>{html.escape(printable(heading))}</title>'
        f'{"".join(above)}<g transform="translate(0 {top})">{"".join(drawn)}</g></svg>'
    )
