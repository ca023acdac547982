"""The notebooks without a browser: in order, in one process, with parameters.

What came out of a run is read from the project's record, never from a cell's
output. What a notebook says and does lies in ``notebooks/``, not here.
"""

from workbench.headless.execution import Run, execute
from workbench.headless.parameters import NOTEBOOKS, Plan, Value, plan, read_parameters
from workbench.headless.summary import Summary, summarize

__all__ = ["NOTEBOOKS", "Plan", "Run", "Summary", "Value", "execute", "plan", "read_parameters", "summarize"]
