"""Train the networks: data in batches, losses, updates, validation, and the run itself."""
