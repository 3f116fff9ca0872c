"""Ask a chat model to compare two reports, each metric by its authors' own package."""
