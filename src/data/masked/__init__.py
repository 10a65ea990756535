"""Texts with hidden tokens."""
