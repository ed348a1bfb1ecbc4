"""Read clear tiles, change them, and put synthetic clouds over them."""
