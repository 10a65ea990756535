"""One run: compose, check, assemble, begin, and go on."""
