"""Restore pixels: windows, blending, screening, compositing, filling. NumPy alone."""
