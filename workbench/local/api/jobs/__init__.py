"""Fine-tuning jobs over HTTP: what they may be asked for, how they stand, and their checkpoints."""
