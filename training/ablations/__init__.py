"""Read grids of trainings, and train the steps that their cells share."""
