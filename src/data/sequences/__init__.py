"""Made tasks on sequences, and music."""
