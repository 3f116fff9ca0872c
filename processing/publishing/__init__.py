"""Publish models and data sets on the Hub: search a folder for what may not leave, upload it, name its repository."""
