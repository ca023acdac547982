"""Answering: prompts read, tokens drawn, many at once, each by its own model and its own wishes."""
