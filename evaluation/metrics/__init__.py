"""Metrics between reports and references, each with its signature."""
