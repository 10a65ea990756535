"""Sounds with a class."""
