"""Picture files: what kind they are, and whether they are safe to decode."""
