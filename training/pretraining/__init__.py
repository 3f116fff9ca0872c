"""Pretrain the vision tower: each objective is in a file of its own."""
