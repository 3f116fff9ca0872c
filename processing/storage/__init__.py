"""Files, folders and caches that are complete or absent, and files that somebody else may have written."""
