"""Grids of runs: described in a YAML file, run in processes of their own, kept by their settings, told as a table."""
