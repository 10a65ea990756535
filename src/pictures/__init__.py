"""Callbacks that draw for the dashboard; a config chooses them."""
