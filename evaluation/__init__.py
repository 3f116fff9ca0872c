"""Evaluation of models: metrics, benchmark, ablations and the reader study."""
