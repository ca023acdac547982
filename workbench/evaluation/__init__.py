"""Is the model good, and is the tuned one really better? Graders, prompts, evaluate, compare."""
