"""Texts and images step by step: decoding, samplers, noise schedules."""
