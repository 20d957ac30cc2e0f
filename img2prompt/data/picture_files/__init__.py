"""Picture files: which format they are in, and whether they are safe to decode."""
