"""The two networks: pure ``nn.Module``, no I/O, no device, shapes on the lines."""
