"""What a model is asked and what it answers: prompts with what stands around a question, many at once."""
