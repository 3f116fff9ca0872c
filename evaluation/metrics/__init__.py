"""Compare reports with references by metrics, each with a signature."""
