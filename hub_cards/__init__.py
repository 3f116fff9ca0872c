"""Hold the templates of the model's and the data set's cards, which code fills in; nothing here is run."""
