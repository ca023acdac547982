"""The Fine-Tuning Workbench: the front desk.

The names a notebook needs, and nothing else. Each is fetched from its room
when it is first used, so ``import workbench`` takes a moment, not seconds.
"""

from importlib import import_module
from typing import TYPE_CHECKING

# The one room that is opened at once: a function and its module share this name, and
# whoever imports the module later must not put it in the function's place.
from .connect import connect
from .settings import DATA as DATA
from .settings import ROOT as ROOT
from .settings import VERSION as __version__  # noqa: N811 - the name Python knows it by

if TYPE_CHECKING:
    from .dataset.checking.check import check as check
    from .dataset.examples import Dataset as Dataset
    from .dataset.examples import Example as Example
    from .dataset.reading import read as read
    from .dataset.repairing.repair import propose as propose
    from .dataset.tokens.counting import count_tokens as count_tokens
    from .dataset.tokens.estimate import estimate as estimate
    from .dataset.tokens.rendering import rendered as rendered
    from .decide.case import payback as payback
    from .decide.forecast import forecast as forecast
    from .errors import DataError as DataError
    from .errors import SetupError as SetupError
    from .errors import WorkbenchError as WorkbenchError
    from .evaluation.asking.prompts import Prompt as Prompt
    from .evaluation.comparing.compare import Comparison as Comparison
    from .evaluation.comparing.compare import compare as compare
    from .evaluation.evaluate import Evaluation as Evaluation
    from .evaluation.evaluate import evaluate as evaluate
    from .evaluation.graders import grader as grader
    from .project import Project as Project
    from .project import open_project as open_project
    from .reviews import open_review as open_review
    from .selftest import about as about
    from .selftest import self_test as self_test
    from .training.alerts import alerts as alerts
    from .training.curves.curve import Curve as Curve
    from .training.curves.results import read_curve as read_curve
    from .training.data import keep_data as keep_data
    from .training.diagnosing.diagnosis import diagnose as diagnose
    from .training.jobs import find_job as find_job
    from .training.jobs import start_job as start_job
    from .training.launching.preflight import launch as launch
    from .training.launching.preflight import preflight as preflight
    from .training.progress import follow as follow
    from .training.progress import follow_all as follow_all
    from .widgets.curve_view import plot as plot
    from .widgets.curve_view import watch as watch
    from .widgets.curve_view import watch_in_background as watch_in_background
    from .widgets.questionnaire import questionnaire as questionnaire
    from .widgets.review import review as review

_ROOMS = {
    ".selftest": ("self_test", "about"),
    ".project": ("open_project", "Project"),
    ".dataset.reading": ("read",),
    ".dataset.checking.check": ("check",),
    ".dataset.examples": ("Dataset", "Example"),
    ".dataset.repairing.repair": ("propose",),
    ".dataset.tokens.rendering": ("rendered",),
    ".dataset.tokens.counting": ("count_tokens",),
    ".dataset.tokens.estimate": ("estimate",),
    ".reviews": ("open_review",),
    ".decide.case": ("payback",),
    ".decide.forecast": ("forecast",),
    ".training.data": ("keep_data",),
    ".training.jobs": ("start_job", "find_job"),
    ".training.launching.preflight": ("preflight", "launch"),
    ".training.progress": ("follow", "follow_all"),
    ".training.alerts": ("alerts",),
    ".training.diagnosing.diagnosis": ("diagnose",),
    ".training.curves.curve": ("Curve",),
    ".training.curves.results": ("read_curve",),
    ".evaluation.asking.prompts": ("Prompt",),
    ".evaluation.evaluate": ("evaluate", "Evaluation"),
    ".evaluation.comparing.compare": ("compare", "Comparison"),
    ".evaluation.graders": ("grader",),
    ".widgets.curve_view": ("watch", "watch_in_background", "plot"),
    ".widgets.review": ("review",),
    ".widgets.questionnaire": ("questionnaire",),
    ".errors": ("DataError", "SetupError", "WorkbenchError"),
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
