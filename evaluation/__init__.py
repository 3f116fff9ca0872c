"""Evaluate models by metrics, the benchmark, ablations and the reader study."""
