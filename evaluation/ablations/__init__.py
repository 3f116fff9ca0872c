"""Score an ablation's cells, and make its tables and figure."""
