"""Grids of runs. A YAML file describes one; every run is a process, and its results are kept and shown as a table."""
