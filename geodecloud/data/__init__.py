"""Training data: tiles, clouds, augmentation."""
