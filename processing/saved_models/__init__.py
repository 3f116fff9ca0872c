"""Load saved models that somebody else may have made: check them first, and run none of their code."""
