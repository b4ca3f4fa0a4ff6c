"""Export of trained networks: files for other programs, model cards, and a live page."""

from alexnet.export.write import write_network

__all__ = ["write_network"]
