"""Use a saved model: load it, write reports, draw previews, serve over HTTP."""
