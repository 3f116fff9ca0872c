"""Train the two supervised stages: recipes, checkpoints, adapters, cached features."""
