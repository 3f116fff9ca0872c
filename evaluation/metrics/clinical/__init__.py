"""Compute clinical metrics, each with its own model: RadGraph-XL, GREEN, RaTEScore."""
