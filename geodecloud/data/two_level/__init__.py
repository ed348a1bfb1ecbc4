"""Make training windows for the coarse and the fine level, on the device that trains."""
