"""Write the commands' output for people: text, tables, and the end after an interruption."""
