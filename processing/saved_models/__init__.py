"""Saved models of anybody: looked at first, then loaded, and no code of theirs run."""
