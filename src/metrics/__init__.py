"""Figures as functions of predictions and targets, and how a figure is printed."""
