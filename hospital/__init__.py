"""Bring studies from a hospital to a model, and its reports back: which series is read, and what is written of it."""
