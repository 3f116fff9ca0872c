"""Serve one model over HTTP."""
