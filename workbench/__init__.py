"""The Fine-Tuning Workbench: its public API, what ``import workbench as wb`` gives.

About sixty words in eight groups; ``wb.about()`` lists them. Each is loaded when it is first used, so
``import workbench`` takes a moment, not seconds. What a notebook needs besides is one level down, such as
``from workbench.evaluation import prompts``.
"""

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING

from workbench.settings import DATA as DATA
from workbench.settings import ROOT as ROOT
from workbench.settings import VERSION as __version__  # noqa: N811, F401 - the name Python knows it by

if TYPE_CHECKING:
    from workbench.catalog.providers import provider_of as provider_of
    from workbench.connect import About
    from workbench.connect import base_model as base_model
    from workbench.connect import connect as connect
    from workbench.connection_check import check_connection as check_connection
    from workbench.connection_check import self_test as self_test
    from workbench.dataset.check.check import check as check
    from workbench.dataset.dataset import Dataset as Dataset
    from workbench.dataset.dataset import Example as Example
    from workbench.dataset.read import read as read
    from workbench.dataset.rendering import rendered as rendered
    from workbench.dataset.repair.repair import propose as propose
    from workbench.dataset.tokens import count_tokens as count_tokens
    from workbench.decide.criteria import criteria as criteria
    from workbench.decide.criteria import methods as methods
    from workbench.decide.decision import decide as decide
    from workbench.decide.forecast import forecast as forecast
    from workbench.decide.payback import payback as payback
    from workbench.decide.power import power_table as power_table
    from workbench.decide.situation import situation as situation
    from workbench.deploy import answering as answering
    from workbench.errors import DataError as DataError
    from workbench.errors import SetupError as SetupError
    from workbench.errors import WorkbenchError as WorkbenchError
    from workbench.evaluation.compare import compare as compare
    from workbench.evaluation.compare import contaminated as contaminated
    from workbench.evaluation.evaluate import evaluate as evaluate
    from workbench.evaluation.evaluation import Evaluation as Evaluation
    from workbench.evaluation.failures import failures as failures
    from workbench.evaluation.grader_trial import try_grader as try_grader
    from workbench.evaluation.graders.ready_made import grader as grader
    from workbench.evaluation.probes import forgotten as forgotten
    from workbench.evaluation.probes import probe as probe
    from workbench.evaluation.prompt_comparison import compare_prompts as compare_prompts
    from workbench.evaluation.prompts import Prompt as Prompt
    from workbench.evaluation.release_check import release_check as release_check
    from workbench.project import open_project as open_project
    from workbench.project import state_task as state_task
    from workbench.report import report as report
    from workbench.review import open_review as open_review
    from workbench.training.alerts import alerts as alerts
    from workbench.training.checkpoints import advise_stopping as advise_stopping
    from workbench.training.checkpoints import choose_checkpoint as choose_checkpoint
    from workbench.training.cost import estimate as estimate
    from workbench.training.diagnosis import diagnose as diagnose
    from workbench.training.example_losses import example_losses as example_losses
    from workbench.training.follow import choices as choices
    from workbench.training.follow import follow as follow
    from workbench.training.jobs import data_evidence as data_evidence
    from workbench.training.jobs import keep_data as keep_data
    from workbench.training.preflight import launch as launch
    from workbench.training.preflight import preflight as preflight
    from workbench.training.runs import record_curve as record_curve
    from workbench.training.runs import runs as runs
    from workbench.training.spec import JobSpec as JobSpec
    from workbench.widgets.blind_review import blind_review as blind_review
    from workbench.widgets.column_map import map_columns as map_columns
    from workbench.widgets.cost_charts import payback_chart as payback_chart
    from workbench.widgets.cost_charts import quality_cost as quality_cost
    from workbench.widgets.curve_figure import plot as plot
    from workbench.widgets.curve_view import watch as watch
    from workbench.widgets.item_browser import browse as browse
    from workbench.widgets.labelling import label as label
    from workbench.widgets.playground import playground as playground
    from workbench.widgets.problem_list import problems as problems
    from workbench.widgets.project_page import project_page as project_page
    from workbench.widgets.questionnaire import questionnaire as questionnaire
    from workbench.widgets.row_review import review as review

WORDS = {
    "Start": {
        "about": "connect",
        "base_model": "connect",
        "check_connection": "connection_check",
        "connect": "connect",
        "open_project": "project",
        "project_page": "widgets.project_page",
        "provider_of": "catalog.providers",
        "self_test": "connection_check",
        "state_task": "project",
    },
    "Data": {
        "check": "dataset.check.check",
        "count_tokens": "dataset.tokens",
        "data_evidence": "training.jobs",
        "Dataset": "dataset.dataset",
        "Example": "dataset.dataset",
        "keep_data": "training.jobs",
        "map_columns": "widgets.column_map",
        "open_review": "review",
        "problems": "widgets.problem_list",
        "propose": "dataset.repair.repair",
        "read": "dataset.read",
        "rendered": "dataset.rendering",
        "review": "widgets.row_review",
    },
    "Decision": {
        "criteria": "decide.criteria",
        "decide": "decide.decision",
        "estimate": "training.cost",
        "forecast": "decide.forecast",
        "methods": "decide.criteria",
        "payback": "decide.payback",
        "payback_chart": "widgets.cost_charts",
        "questionnaire": "widgets.questionnaire",
        "situation": "decide.situation",
    },
    "Prompts and evaluation": {
        "compare_prompts": "evaluation.prompt_comparison",
        "evaluate": "evaluation.evaluate",
        "Evaluation": "evaluation.evaluation",
        "failures": "evaluation.failures",
        "grader": "evaluation.graders.ready_made",
        "label": "widgets.labelling",
        "Prompt": "evaluation.prompts",
    },
    "Training": {
        "alerts": "training.alerts",
        "choices": "training.follow",
        "follow": "training.follow",
        "JobSpec": "training.spec",
        "launch": "training.preflight",
        "preflight": "training.preflight",
        "watch": "widgets.curve_view",
    },
    "Curves and checkpoints": {
        "advise_stopping": "training.checkpoints",
        "choose_checkpoint": "training.checkpoints",
        "diagnose": "training.diagnosis",
        "example_losses": "training.example_losses",
        "plot": "widgets.curve_figure",
        "record_curve": "training.runs",
        "runs": "training.runs",
    },
    "Base against tuned": {
        "answering": "deploy",
        "blind_review": "widgets.blind_review",
        "browse": "widgets.item_browser",
        "compare": "evaluation.compare",
        "contaminated": "evaluation.compare",
        "forgotten": "evaluation.probes",
        "playground": "widgets.playground",
        "power_table": "decide.power",
        "probe": "evaluation.probes",
        "quality_cost": "widgets.cost_charts",
        "release_check": "evaluation.release_check",
        "report": "report",
        "try_grader": "evaluation.grader_trial",
    },
    "Errors": {
        "DataError": "errors",
        "SetupError": "errors",
        "WorkbenchError": "errors",
    },
}
"""The public words by subject, each with the module that it lives in (``module:name`` where they differ)."""

_MODULE_OF = {word: module for words in WORDS.values() for word, module in words.items()}

__all__ = sorted(["DATA", "ROOT", "__version__", *_MODULE_OF])


def about() -> "About":
    """What runs here (versions, machine, home), and the public words by subject."""
    from workbench.connect import about

    return about({group: tuple(words) for group, words in WORDS.items()})


def __getattr__(name: str) -> object:
    if name not in _MODULE_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module, _, own_name = _MODULE_OF[name].partition(":")
    value: object = getattr(import_module(f"workbench.{module}"), own_name or name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__


class _PublicAPI(ModuleType):
    """Some words share their name with a module (``connect``, ``decide``, ``review``).

    Python binds a module to its package when it is loaded; here the word stays what users call by that name.
    The module is still there for ``from workbench.decide import ...``.
    """

    def __setattr__(self, name: str, value: object) -> None:
        if name not in _MODULE_OF or not isinstance(value, ModuleType):
            super().__setattr__(name, value)


sys.modules[__name__].__class__ = _PublicAPI

if (_shell := getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()) is not None:
    from workbench.display import show_errors_briefly

    show_errors_briefly(_shell)
