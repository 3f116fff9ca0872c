"""Files, folders and caches that are whole or not there, and files that somebody else may have written."""
