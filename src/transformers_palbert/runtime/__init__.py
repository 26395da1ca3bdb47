"""Answers from an exported model without torch and transformers.

    >>> from transformers_palbert.runtime import load
    >>> ask = load("exported")  # a folder that `palbert export` wrote
    >>> ask(question="Where do I live?", context="My name is Wolfgang and I live in Berlin")
    {'score': 0.9191, 'start': 34, 'end': 40, 'answer': 'Berlin'}

It needs numpy, tokenizers and onnxruntime (or openvino) alone, and gives the answers of the pipeline
``question-answering``, whose code before and after the model it shares.
"""

from __future__ import annotations

from .answering import QuestionAnswerer, load

__all__ = ["QuestionAnswerer", "load"]
