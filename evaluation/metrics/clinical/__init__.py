"""Metrics that need a model of their own: RadGraph-XL, GREEN, RaTEScore."""
