"""Output of the commands for people: text, progress, tables, and the end after an interruption."""
