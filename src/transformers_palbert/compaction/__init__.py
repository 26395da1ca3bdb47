"""Making a trained model smaller and faster without training it again."""
