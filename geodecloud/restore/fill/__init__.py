"""Fill opaque pixels with the colour and texture of visible land, or from references."""
