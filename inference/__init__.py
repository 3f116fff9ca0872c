"""Use a saved model: load it, write reports, draw and serve them."""
