"""The QGIS plugin and the profiles it is installed into."""
