"""Judge restored pictures: pairs, tiles, seams."""
