"""Figures from tensors: nothing here knows of runs or trainers."""
