"""Grids of trainings and the steps that their cells share."""
