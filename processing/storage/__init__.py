"""Write files, folders and caches that are complete or absent, and read files that somebody else may have written."""
