"""Is the model good, and is the tuned one really better? Prompts, evaluations, comparisons, graders."""
