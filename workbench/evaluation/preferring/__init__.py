"""Which of two answers do people, or a judge, prefer? Blind ratings, what they show, pairs to learn from."""
