"""The Fine-Tuning Workbench: the front desk.

The names a notebook needs, and nothing else. Each is fetched from its room
when it is first used, so ``import workbench`` takes a moment, not seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

from workbench.connect import connect as connect
from workbench.settings import DATA as DATA
from workbench.settings import ROOT as ROOT
from workbench.settings import VERSION as __version__  # noqa: N811 - the name Python knows it by

if TYPE_CHECKING:
    from workbench.dataset.chat_template import rendered as rendered
    from workbench.dataset.check.check import check as check
    from workbench.dataset.dataset import Dataset as Dataset
    from workbench.dataset.dataset import Example as Example
    from workbench.dataset.read import read as read
    from workbench.dataset.repair.repair import propose as propose
    from workbench.dataset.tokens import count_tokens as count_tokens
    from workbench.decide.forecast import forecast as forecast
    from workbench.decide.payback import payback as payback
    from workbench.errors import DataError as DataError
    from workbench.errors import SetupError as SetupError
    from workbench.errors import WorkbenchError as WorkbenchError
    from workbench.evaluation.compare import Comparison as Comparison
    from workbench.evaluation.compare import compare as compare
    from workbench.evaluation.evaluate import evaluate as evaluate
    from workbench.evaluation.evaluation import Evaluation as Evaluation
    from workbench.evaluation.graders.ready_made import grader as grader
    from workbench.evaluation.prompts import Prompt as Prompt
    from workbench.project import Project as Project
    from workbench.project import open_project as open_project
    from workbench.review import open_review as open_review
    from workbench.selftest import about as about
    from workbench.selftest import self_test as self_test
    from workbench.training.alerts import alerts as alerts
    from workbench.training.cost import estimate as estimate
    from workbench.training.curve import Curve as Curve
    from workbench.training.curve_files import read_curve as read_curve
    from workbench.training.diagnosis import diagnose as diagnose
    from workbench.training.follow import follow as follow
    from workbench.training.follow import follow_all as follow_all
    from workbench.training.jobs import find_job as find_job
    from workbench.training.jobs import keep_data as keep_data
    from workbench.training.jobs import start_job as start_job
    from workbench.training.preflight import launch as launch
    from workbench.training.preflight import preflight as preflight
    from workbench.widgets.curve_view import plot as plot
    from workbench.widgets.curve_view import watch as watch
    from workbench.widgets.curve_view import watch_in_background as watch_in_background
    from workbench.widgets.questionnaire import questionnaire as questionnaire
    from workbench.widgets.row_review import review as review

# The one room that is opened at once: a function and its module share this name, and
# whoever imports the module later must not put it in the function's place.


_ROOMS = {
    ".selftest": (
        "self_test",
        "about",
    ),
    ".project": (
        "open_project",
        "Project",
    ),
    ".dataset.read": ("read",),
    ".dataset.check.check": ("check",),
    ".dataset.dataset": (
        "Dataset",
        "Example",
    ),
    ".dataset.repair.repair": ("propose",),
    ".dataset.chat_template": ("rendered",),
    ".dataset.tokens": ("count_tokens",),
    ".training.cost": ("estimate",),
    ".review": ("open_review",),
    ".decide.payback": ("payback",),
    ".decide.forecast": ("forecast",),
    ".training.jobs": (
        "keep_data",
        "start_job",
        "find_job",
    ),
    ".training.preflight": (
        "preflight",
        "launch",
    ),
    ".training.follow": (
        "follow",
        "follow_all",
    ),
    ".training.alerts": ("alerts",),
    ".training.diagnosis": ("diagnose",),
    ".training.curve": ("Curve",),
    ".training.curve_files": ("read_curve",),
    ".evaluation.prompts": ("Prompt",),
    ".evaluation.evaluate": ("evaluate",),
    ".evaluation.evaluation": ("Evaluation",),
    ".evaluation.compare": (
        "compare",
        "Comparison",
    ),
    ".evaluation.graders.ready_made": ("grader",),
    ".widgets.curve_view": (
        "watch",
        "watch_in_background",
        "plot",
    ),
    ".widgets.row_review": ("review",),
    ".widgets.questionnaire": ("questionnaire",),
    ".errors": (
        "DataError",
        "SetupError",
        "WorkbenchError",
    ),
}
_ROOM_OF = {name: room for room, names in _ROOMS.items() for name in names}

__all__ = ["DATA", "ROOT", "__version__", "connect", *_ROOM_OF]


def __getattr__(name: str) -> object:
    if name not in _ROOM_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(_ROOM_OF[name], __name__), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
