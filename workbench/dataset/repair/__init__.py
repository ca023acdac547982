"""Data put right where a rule says how: shown as a diff first, applied on request, and undone at will."""
