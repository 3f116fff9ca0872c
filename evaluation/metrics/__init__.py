"""Metrics that compare reports with references, each with a signature."""
