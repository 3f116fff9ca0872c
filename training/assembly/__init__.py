"""Make model folders: out of presets, published weights, or a language model trained from nothing."""
