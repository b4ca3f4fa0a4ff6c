"""The files of a run and of a sweep: the only contract between training and reporting."""
