"""From a split to a table: generate, control, store, score, compare."""
