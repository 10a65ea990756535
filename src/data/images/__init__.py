"""Images with a class, or without."""
