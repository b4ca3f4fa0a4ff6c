"""Sweeps: the plan of their runs, their folders, processes and progress."""

from alexnet.sweep.sweep import ExperimentSweep

__all__ = ["ExperimentSweep"]
