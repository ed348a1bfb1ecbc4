"""Define the networks, read and write their files, and run them."""
