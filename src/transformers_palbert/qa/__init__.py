"""Question answering: data sets, features, answer spans, metrics and statistics.

Import what you need from the modules, for example ``from transformers_palbert.qa.datasets import load_qa_dataset``:
this package itself imports nothing, so that scoring a file of predictions never pays for PyTorch.
"""
