"""Train the networks: tiles in batches, losses, the run itself."""
