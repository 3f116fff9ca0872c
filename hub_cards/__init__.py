"""Templates of the model and data set cards, filled in by code; nothing here is run."""
