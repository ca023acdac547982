"""What the service remembers: files, jobs, events, metrics and checkpoints, in SQLite and in folders."""
