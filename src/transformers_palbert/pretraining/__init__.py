"""Pre-training data: text to token files, chunks of documents, segment pairs and masks. numpy, without a model."""
