"""Compute what a training takes before it is started: parameters, operations, memory."""
