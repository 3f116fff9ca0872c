"""The HTTP server for one model."""
