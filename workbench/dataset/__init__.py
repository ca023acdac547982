"""Training data: examples, the files they come from, what is wrong with them, and how it is repaired.

Everything here is pure: values in, values out, no service and no model.
"""

from workbench.dataset.dataset import Dataset as Dataset
from workbench.dataset.dataset import Example as Example
from workbench.dataset.dataset import Message as Message
from workbench.dataset.dataset import Split as Split
from workbench.dataset.read import parse_jsonl as parse_jsonl
from workbench.dataset.read import read as read

__all__ = ["Dataset", "Example", "Message", "Split", "parse_jsonl", "read"]
