"""Prompts that picture files carry."""
