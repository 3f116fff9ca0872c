"""Choose the series of a study that is read, and tell why the others are not."""
