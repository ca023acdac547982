"""Graders: what makes an answer right, in OpenAI's grader JSON, for evaluation, training and the service."""

from .checking import BadGraderError as BadGraderError
from .checking import Grader as Grader
from .checking import check_grader as check_grader
from .grades import Grade as Grade
from .grading import grade as grade
from .grading import graded as graded
from .grading import passes as passes
from .grading import threshold as threshold
from .judges import Ask as Ask
from .judges import Judged as Judged
from .judges import JudgeError as JudgeError
from .judges import Reply as Reply
from .ready import grader as grader
from .sandbox import Limits as Limits
from .sandbox import close_sandboxes as close_sandboxes
