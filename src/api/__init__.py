"""What a program or a notebook calls: training, trained networks, data and tasks for loops of one's own."""
