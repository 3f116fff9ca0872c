"""The console command `argus`: one file a noun."""
