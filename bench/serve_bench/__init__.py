"""The parts of `make bounds` and `make load`."""
