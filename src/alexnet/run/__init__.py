"""One run: its processes, its records and the training."""
