"""The files of runs and sweeps: the only interface between training and reporting."""
