"""From prepared data to a trained model and its artifacts."""
