"""Keep the mean of a model's training scans beside the model, and find where it lies in another scan."""
