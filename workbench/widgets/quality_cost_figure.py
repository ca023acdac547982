"""Quality against cost as an interactive figure: the same points, colours and markers as the drawing."""

import html
from typing import TYPE_CHECKING

from workbench.evaluation.comparing.pareto import AXES, Field
from workbench.widgets.curve_figure import CLEAR, GRID
from workbench.widgets.curve_series import BLUE, GREY
from workbench.widgets.quality_cost_drawing import LEGEND, is_logarithmic, points

if TYPE_CHECKING:
    import plotly.graph_objects as go


def figure(field: Field) -> "go.Figure":
    """Build the figure; below its title stands what is dominated, in words."""
    import plotly.graph_objects as go

    built = go.Figure()
    frontier = field.frontier
    built.add_scatter(
        x=[candidate.price(field.against) for candidate in frontier],
        y=[candidate.evaluation.score for candidate in frontier],
        mode="lines",
        line={"color": GREY, "dash": "dash", "width": 1.5, "shape": "hv"},
        name="frontier",
        hoverinfo="skip",
    )
    for point in points(field) if field.placed else ():
        measured = point.candidate.evaluation
        hollow = "-open" if field.better_than(point.candidate) else ""
        built.add_scatter(
            x=[point.candidate.price(field.against)],
            y=[measured.score],
            name=html.escape(point.candidate.name),
            mode="markers+text",
            text=[html.escape(point.label)],
            textposition=point.place,
            cliponaxis=False,
            marker={
                "symbol": point.shape + hollow,
                "size": 11,
                "color": point.colour,
                "line": {"width": 2, "color": point.colour},
            },
            error_y={
                "array": [measured.interval.high - measured.score],
                "arrayminus": [measured.score - measured.interval.low],
                "color": point.colour,
                "thickness": 1.5,
            },
            hovertemplate=f"{html.escape(point.candidate.name)}<br>{100 * measured.score:.1f} % "
            f"({measured.interval} %)<br>{html.escape(field.told_price(point.candidate))}<extra></extra>",
        )
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID}
    scale = {"type": "log", "dtick": "D2"} if is_logarithmic(field) else {"rangemode": "tozero"}
    dollars = "$" if field.against == "cost" else ""
    built.update_xaxes(title=AXES[field.against], tickprefix=dollars, **scale, **axis)
    built.update_yaxes(title="score, with its 95 % interval", tickformat=".0%", **axis)
    told = [LEGEND, *(sentence for sentence in field.told if "dominated" in sentence)]
    built.update_layout(
        template="none",
        title={
            "text": f"Score against {AXES[field.against]}",
            "font": {"size": 14},
            "x": 0.01,
            "subtitle": {"text": "<br>".join(map(html.escape, told)), "font": {"size": 11}},
        },
        height=420 + 16 * len(told),
        margin={"l": 70, "r": 30, "t": 60 + 16 * len(told), "b": 55},
        font={"color": GREY},
        showlegend=False,
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        modebar={"bgcolor": CLEAR, "color": GREY, "activecolor": BLUE},
        hoverlabel={"bgcolor": "#222222", "font": {"color": "#eeeeee"}},
    )
    return built
