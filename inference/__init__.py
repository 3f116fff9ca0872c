"""The use of a saved model: loading it, writing reports, drawing previews, serving over HTTP."""
