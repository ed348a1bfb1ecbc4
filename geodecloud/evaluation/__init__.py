"""Score restorations on pairs of scenes and on tiles, and measure the seams between windows."""
