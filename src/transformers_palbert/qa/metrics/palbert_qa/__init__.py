"""Folder of the `evaluate` module `palbert_qa`: it must be named like its script."""
