"""How sure one may be: intervals, tests for paired answers, and how many items a difference needs."""
