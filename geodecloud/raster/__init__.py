"""Read and write rasters: scenes in, whole files out. The only room that imports rasterio."""
