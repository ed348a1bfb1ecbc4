"""Train the generator on windows that are made on the device that trains."""
