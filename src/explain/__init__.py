"""How a trained network is looked into, a kind of input a file."""
