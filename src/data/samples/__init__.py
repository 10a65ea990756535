"""Samples of any shape, of a data set of the user's program."""
