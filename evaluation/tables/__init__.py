"""Fill tables from the results of several evaluations: the paper's Table 2, and a table of all metrics."""
