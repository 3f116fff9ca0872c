"""Compute the cost of a training run before it starts: parameters, operations, memory."""
