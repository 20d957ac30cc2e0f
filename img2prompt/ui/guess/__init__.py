"""The Guess tab."""
