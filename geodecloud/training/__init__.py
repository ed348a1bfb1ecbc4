"""How the networks are trained: clouds, data, losses, the loop."""
