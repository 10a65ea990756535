"""Texts with a class, with tags, or with questions and answers."""
