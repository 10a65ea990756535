"""What lies on the disk: run folders, records, checkpoints, files that are whole or not there."""
