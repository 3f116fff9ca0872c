"""Run the commands for a hospital's studies."""
