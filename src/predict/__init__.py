"""Where a kind of data meets a task on a file of the user's."""
