"""Training data: examples, the files they come from, and what is wrong with them.

Everything here is pure: values in, values out, no service and no model.
"""

from workbench.dataset.checks import Problem, Report, check
from workbench.dataset.examples import Dataset, Example, Message, Split
from workbench.dataset.readers import parse_jsonl, read

__all__ = [
    "Dataset",
    "Example",
    "Message",
    "Problem",
    "Report",
    "Split",
    "check",
    "parse_jsonl",
    "read",
]
