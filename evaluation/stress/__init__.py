"""Stress metrics of reports with planted errors and with harmless changes."""
