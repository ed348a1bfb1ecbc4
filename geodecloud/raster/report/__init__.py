"""Write pages for people who look: one for a scene, with a slider, and one for a batch.

A page is one file of HTML: pictures, style and script are in it, and it asks no network for any.
"""
