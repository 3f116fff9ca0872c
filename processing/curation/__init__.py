"""Curate CT-3DRRG from the downloads: rules, judges, splits, the prepared folder, its card."""
