"""Make model folders from presets, published weights, or a language model trained from scratch."""
