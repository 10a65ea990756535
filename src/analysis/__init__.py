"""What is known of a network without training it: layers, receptive field, operations, memory."""
