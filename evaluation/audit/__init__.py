"""Audit whether a model's reports follow what is in the image."""
