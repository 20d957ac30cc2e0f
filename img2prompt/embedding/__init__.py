"""Words as vectors: Word2Vec, the map of words, kinds of words."""
