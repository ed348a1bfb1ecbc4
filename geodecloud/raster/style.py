"""Write styles for QGIS: the colours and names of the values of a raster."""

from collections.abc import Iterable

Colour = tuple[int, int, int, int]  # red, green, blue, alpha


def pseudocolour(items: Iterable[tuple[int, str, Colour]], nodata: Colour) -> str:
    """Return the text of a .qml file that paints the first band.

    Args:
        items: values, rising, their meaning and colour; what lies between two is painted between.
    """
    lines = []
    for value, text, (red, green, blue, alpha) in items:
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        item = f'<item value="{value}" label="{text}" color="{colour}" alpha="{alpha}"/>'
        lines.append(f"          {item}")
    return _QML.format(nodata=",".join(map(str, nodata)), items="\n".join(lines))


def paletted(items: Iterable[tuple[int, str, Colour]]) -> str:
    """Return the text of a .qml file that paints each value of the first band in its own colour."""
    lines = []
    for value, text, (red, green, blue, alpha) in items:
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        entry = f'<paletteEntry value="{value}" label="{text}" color="{colour}" alpha="{alpha}"/>'
        lines.append(f"        {entry}")
    return _PALETTED.format(items="\n".join(lines))


_PALETTED = """\
<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis styleCategories="Symbology" version="3.22.16">
  <pipe>
    <provider>
      <resampling enabled="false" zoomedInResamplingMethod="nearestNeighbour" \
zoomedOutResamplingMethod="nearestNeighbour" maxOversampling="2"/>
    </provider>
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <colorPalette>
{items}
      </colorPalette>
    </rasterrenderer>
  </pipe>
</qgis>
"""

_QML = """\
<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis styleCategories="Symbology" version="3.22.16">
  <pipe>
    <provider>
      <resampling enabled="false" zoomedInResamplingMethod="nearestNeighbour" \
zoomedOutResamplingMethod="nearestNeighbour" maxOversampling="2"/>
    </provider>
    <rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1" \
classificationMin="0" classificationMax="255" nodataColor="{nodata}">
      <rastershader>
        <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" \
minimumValue="0" maximumValue="255">
{items}
          <rampLegendSettings useContinuousLegend="0"/>
        </colorrampshader>
      </rastershader>
    </rasterrenderer>
  </pipe>
</qgis>
"""
