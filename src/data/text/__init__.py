"""Running text, by character, word or token."""
