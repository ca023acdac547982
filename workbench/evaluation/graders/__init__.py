"""Graders: what makes an answer right, in OpenAI's grader JSON, for evaluation, training and the service."""
