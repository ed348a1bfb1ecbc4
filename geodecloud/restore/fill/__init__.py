"""Fill opaque pixels: colour, texture and references."""
