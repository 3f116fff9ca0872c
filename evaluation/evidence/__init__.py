"""Measure maps of evidence against findings whose place is known."""
