"""How sure may one be? Intervals, tests for paired answers, how many items a difference needs, agreement."""
