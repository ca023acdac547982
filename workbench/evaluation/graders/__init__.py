"""Graders: what makes an answer right, in OpenAI's grader JSON, for evaluation, training and the service."""

from .grading import Grader as Grader
from .grading import check_grader as check_grader
from .grading import grade as grade
from .grading import grader as grader
