"""Word-level baselines for extractive question answering: BiLSTM and TextCNN readers over jieba or whitespace words.

See :mod:`.modeling` for the reader, :mod:`.tokenization` for the words, :mod:`.vectors` and :mod:`.training` for word
vectors, and :mod:`.building` for a fresh model from training texts.
"""
