"""Many runs: which they are, in what folders, in which processes, and how they are doing."""

from alexnet.sweep.sweep import ExperimentSweep

__all__ = ["ExperimentSweep"]
