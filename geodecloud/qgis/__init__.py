"""Hold the QGIS plugin, and install it into profiles."""
