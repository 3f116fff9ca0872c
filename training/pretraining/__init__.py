"""Pretraining of the vision tower: one objective a file."""
