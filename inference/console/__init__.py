"""What the commands write to a person: text, progress, tables, and how they end."""
