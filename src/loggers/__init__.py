"""Where figures and pictures go beside the run folder: TensorBoard, a table, trackers of several kinds."""
