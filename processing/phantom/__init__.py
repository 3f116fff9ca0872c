"""Synthetic chest CTs whose findings are known: drawn, worded and stored."""
