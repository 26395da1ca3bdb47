"""PAL-BERT: configuration, model, layers and tokenizer."""
