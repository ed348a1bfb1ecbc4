"""Write styles for QGIS: the colours and names of the values of a raster."""

from collections.abc import Iterable

Colour = tuple[int, int, int, int]  # red, green, blue, alpha


def pseudocolour(items: Iterable[tuple[int, str, Colour]], nodata: Colour) -> str:
    """Return the text of a .qml file that paints the first band, interpolating between colours.

    Args:
        items: ascending values, with their meaning and colour.
        nodata: colour of nodata.
    """
    painted = _elements("item", items, indent=10)
    return _QML.format(
        renderer=_PSEUDOCOLOUR.format(nodata=",".join(map(str, nodata)), items=painted)
    )


def paletted(items: Iterable[tuple[int, str, Colour]]) -> str:
    """Return the text of a .qml file that paints each value of the first band in its own colour."""
    return _QML.format(renderer=_PALETTED.format(items=_elements("paletteEntry", items, indent=8)))


def _elements(name: str, items: Iterable[tuple[int, str, Colour]], indent: int) -> str:
    """Return an XML element for each value, one per line."""
    lines = []
    for value, text, (red, green, blue, alpha) in items:
        colour = f"#{red:02x}{green:02x}{blue:02x}"
        element = f'<{name} value="{value}" label="{text}" color="{colour}" alpha="{alpha}"/>'
        lines.append(" " * indent + element)
    return "\n".join(lines)


_QML = """\
<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis styleCategories="Symbology" version="3.22.16">
  <pipe>
    <provider>
      <resampling enabled="false" zoomedInResamplingMethod="nearestNeighbour" \
zoomedOutResamplingMethod="nearestNeighbour" maxOversampling="2"/>
    </provider>
{renderer}
  </pipe>
</qgis>
"""

_PALETTED = """\
    <rasterrenderer type="paletted" band="1" opacity="1" alphaBand="-1" nodataColor="">
      <colorPalette>
{items}
      </colorPalette>
    </rasterrenderer>"""

_PSEUDOCOLOUR = """\
    <rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1" \
classificationMin="0" classificationMax="255" nodataColor="{nodata}">
      <rastershader>
        <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0" \
minimumValue="0" maximumValue="255">
{items}
          <rampLegendSettings useContinuousLegend="0"/>
        </colorrampshader>
      </rastershader>
    </rasterrenderer>"""
