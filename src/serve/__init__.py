"""A trained network behind HTTP: what `torchatlas predict` answers, to whoever asks."""
