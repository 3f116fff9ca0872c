"""Reproduce the paper: from the downloads to its tables and figures, as a list of jobs that depend on each other."""
