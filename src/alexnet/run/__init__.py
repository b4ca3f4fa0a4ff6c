"""One run: its processes, what it writes of itself, and the training."""
