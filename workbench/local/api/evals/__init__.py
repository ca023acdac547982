"""Evals over HTTP: what is asked, on which lines of which file, and what came out."""
