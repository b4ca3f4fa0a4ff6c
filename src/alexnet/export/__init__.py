"""Trained networks for other programs: files, model cards, and a page in which they run."""

from alexnet.export.write import write_network

__all__ = ["write_network"]
