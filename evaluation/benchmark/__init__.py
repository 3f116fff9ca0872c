"""Run the benchmark: report generation for a split, controls, stored reports, scores and tables."""
