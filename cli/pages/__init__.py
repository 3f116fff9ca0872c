"""Run the commands that serve a page: `argus view`, `reader-study`."""
