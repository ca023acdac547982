"""Graders over HTTP, and the models that they ask."""
