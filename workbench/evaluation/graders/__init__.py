"""Graders: what makes an answer right, in OpenAI's grader JSON, for evaluation, training and the service."""

from workbench.evaluation.graders.grades import BadGraderError as BadGraderError
from workbench.evaluation.graders.grades import Grade as Grade
from workbench.evaluation.graders.grades import Grader as Grader
from workbench.evaluation.graders.grading import check_grader as check_grader
from workbench.evaluation.graders.grading import grade as grade
from workbench.evaluation.graders.grading import graded as graded
from workbench.evaluation.graders.grading import passes as passes
from workbench.evaluation.graders.grading import threshold as threshold
from workbench.evaluation.graders.judges import Ask as Ask
from workbench.evaluation.graders.judges import Judged as Judged
from workbench.evaluation.graders.judges import JudgeError as JudgeError
from workbench.evaluation.graders.judges import Reply as Reply
from workbench.evaluation.graders.ready_made import grader as grader
from workbench.evaluation.graders.sandbox import SandboxLimits as SandboxLimits
from workbench.evaluation.graders.sandbox import close_sandboxes as close_sandboxes
