"""Score the cells of an ablation and write its tables and figure."""
