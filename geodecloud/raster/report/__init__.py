"""Write HTML reports: a page for each scene, with a slider, and an index for a batch.

A page is a single file that holds its pictures, style and script; it needs no network.
"""
