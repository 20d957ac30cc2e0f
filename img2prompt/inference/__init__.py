"""From a picture to its words: predictor, decoder, artifacts."""
