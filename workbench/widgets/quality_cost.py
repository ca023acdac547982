"""The chart of quality against cost: what is worth a choice, and what another candidate dominates.

Candidates differ in marker and colour and bear their names; hollow or ringed
ones are dominated. The same stands in words and in a table for those who see no chart.
"""

import base64
import html
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.evaluation.comparing.pareto import Field
from workbench.widgets.curve_view import PLOTLY
from workbench.widgets.quality_cost_drawing import drawn
from workbench.widgets.quality_cost_figure import figure

if TYPE_CHECKING:
    import plotly.graph_objects as go


@dataclass(frozen=True, repr=False)
class QualityCost:
    """A field as a notebook shows it: interactive where that works, else drawn with its table, else told."""

    field: Field

    @property
    def svg(self) -> str:
        """The drawing, which stands on its own."""
        return drawn(self.field)

    @property
    def figure(self) -> "go.Figure":
        """The interactive figure, to change as you like."""
        return figure(self.field)

    def __repr__(self) -> str:
        """The sentences."""
        return repr(self.field)

    def _repr_html_(self) -> str:
        encoded = base64.b64encode(self.svg.encode()).decode()
        image = f'<img alt="{html.escape(repr(self))}" src="data:image/svg+xml;base64,{encoded}">'
        return image + self.field._repr_html_()

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, object]:
        return {
            PLOTLY: json.loads(self.figure.to_json()),
            "text/html": self._repr_html_(),
            "image/svg+xml": self.svg,
            "text/plain": repr(self),
        }


def quality_cost(field: Field) -> QualityCost:
    """Show me which candidates are worth a choice: scores with their intervals against what they cost."""
    return QualityCost(field)
