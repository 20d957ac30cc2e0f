"""Pictures and prompts: read, cleaned, filtered, prepared, split."""
