"""Run the console command `argus`, with one module for each group of commands."""
