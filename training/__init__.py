"""Train Argus: pretraining of the vision tower, the two supervised stages, ablations and planning."""
