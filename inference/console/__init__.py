"""Write the commands' output for people: text, progress, tables, and the end after an interruption."""
