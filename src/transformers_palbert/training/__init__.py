"""Training: command-line arguments, optimizer groups, and a Trainer that evaluates answers instead of logits."""
