"""Scores of an ablation's cells, and its tables and figure."""
