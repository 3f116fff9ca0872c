"""Score reports by the package RadEval, which has an environment of its own."""
