"""Run the checks of a model that stand beside its scores."""
