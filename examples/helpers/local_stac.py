"""Serve the sample as a STAC API on this machine, so that a notebook runs without a network.

The items are like those of ``sentinel-2-l2a`` on the Planetary Computer: a file for each band,
addresses that must be signed, and the processing baseline among the properties. The pixels are
those of the sample, of level 1C; the days are made up.
"""

import atexit
import json
import subprocess
import sys
import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pystac
import rasterio
from pystac.extensions.eo import EOExtension
from pystac.extensions.projection import ProjectionExtension
from rasterio.warp import transform_bounds

COLLECTION = "sentinel-2-l2a"
BANDS = ("B02", "B03", "B04", "B08")
# Name, day, cloud cover in percent, file of the sample.
SCENES = (
    ("S2_20200615_CLOUDY", datetime(2020, 6, 15, 16, tzinfo=UTC), 55, "s2_cloudy.tif"),
    ("S2_20200702_CLEAR", datetime(2020, 7, 2, 16, tzinfo=UTC), 1, "s2_clear.tif"),
)
_API = "https://api.stacspec.org/v1.0.0"
_CONFORMS = [f"{_API}/{part}" for part in ("core", "item-search", "item-search#query")]
_SIGNATURE = "signed-here"


def serve_sample(samples: Path, folder: Path) -> str:
    """Write the sample as COGs of one band into ``folder``, serve them, and return the address.

    The server is a process of its own: GDAL keeps Python's lock while it opens a file, so a server
    in the same process could not answer. It ends with this process.
    """
    pipes: dict[str, Any] = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    command = [sys.executable, __file__, str(samples), str(folder)]
    # A session of its own: "Interrupt" in Jupyter is not meant for it.
    server = subprocess.Popen(command, start_new_session=True, **pipes)
    atexit.register(server.communicate)  # closes its input, and waits for its end
    return str(server.stdout.readline()).strip()


def sign(found: Any) -> None:
    """Sign the addresses in a page of found items, as ``planetary_computer.sign_inplace`` does."""
    if isinstance(found, dict):
        for item in found.get("features", ()):
            for asset in item["assets"].values():
                asset["href"] += f"?sig={_SIGNATURE}"


def _make_item(
    scene: Path, folder: Path, url: str, name: str, day: datetime, cloud_cover: float
) -> dict[str, Any]:
    with rasterio.open(scene) as source:
        dn, crs, bounds, transform = source.read(), source.crs, source.bounds, source.transform
    box = transform_bounds(crs, "EPSG:4326", *bounds)
    item = pystac.Item(
        name, _rectangle(*box), list(box), day, {"s2:processing_baseline": "02.14"}
    )  # before 04.00: no offset
    item.collection_id = COLLECTION
    EOExtension.ext(item, add_if_missing=True).cloud_cover = cloud_cover
    ProjectionExtension.ext(item, add_if_missing=True).code = crs.to_string()
    profile = {"driver": "COG", "count": 1, "dtype": "uint16", "nodata": 0, "compress": "deflate"}
    profile |= {"crs": crs, "transform": transform, "blocksize": 128, "overviews": "none"}
    for band, values in zip(BANDS, dn.astype(np.uint16), strict=True):
        file = f"{name}_{band}_10m.tif"
        with rasterio.open(
            folder / file, "w", width=dn.shape[2], height=dn.shape[1], **profile
        ) as out:
            out.write(values, 1)
        item.add_asset(band, pystac.Asset(f"{url}/{file}", media_type=pystac.MediaType.COG))
    described: dict[str, Any] = item.to_dict(include_self_link=False)
    return described


def _rectangle(left: float, bottom: float, right: float, top: float) -> dict[str, Any]:
    corners = [(left, bottom), (right, bottom), (right, top), (left, top), (left, bottom)]
    return {"type": "Polygon", "coordinates": [corners]}


class _Handler(BaseHTTPRequestHandler):
    """Answers the first page, a search, and reads of parts of files."""

    folder: Path
    items: list[dict[str, Any]]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        file = self.folder / address.path.lstrip("/")
        if address.path == "/":
            self._send_json(self._first_page())
        elif not file.is_file():
            self._refuse(404)
        elif parse_qs(address.query).get("sig") != [_SIGNATURE]:
            self._refuse(403)
        else:
            self._send_part(file.read_bytes())

    do_HEAD = do_GET  # noqa: N815

    def do_POST(self) -> None:
        wanted = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        found = [item for item in self.items if _matches(item, wanted)]
        self._send_json({"type": "FeatureCollection", "features": found, "links": []})

    def log_message(self, *_: object) -> None:
        """Stay silent."""

    def _first_page(self) -> dict[str, Any]:
        root = f"http://{self.headers['Host']}"
        search = {"rel": "search", "href": f"{root}/search", "method": "POST"}
        return {
            "type": "Catalog",
            "id": "sample",
            "stac_version": "1.0.0",
            "description": "The sample of geodecloud",
            "conformsTo": _CONFORMS,
            "links": [
                {"rel": "root", "href": root},
                {"rel": "self", "href": root},
                search | {"type": "application/geo+json"},
            ],
        }

    def _send_json(self, answer: dict[str, Any]) -> None:
        self._send(200, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _send_part(self, data: bytes) -> None:
        asked = self.headers.get("Range")
        headers = {"Content-Type": "image/tiff", "Accept-Ranges": "bytes"}
        if not asked:
            self._send(200, data, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        part = data[int(first) : int(last or len(data)) + 1]
        headers["Content-Range"] = f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}"
        self._send(206, part, headers)

    def _refuse(self, status: int) -> None:
        self._send(status, b"", {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in (headers | {"Content-Length": str(len(body))}).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _matches(item: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether an item fits a search by collection, day, area and cloud cover."""
    first, _, last = wanted.get("datetime", "0/9").partition("/")
    left, bottom, right, top = wanted.get("bbox", item["bbox"])
    west, south, east, north = item["bbox"]
    most = wanted.get("query", {}).get("eo:cloud_cover", {}).get("lt", 101)
    return (
        item["collection"] in wanted.get("collections", [COLLECTION])
        and first <= item["properties"]["datetime"] <= last
        and (left <= east and west <= right and bottom <= north and south <= top)
        and item["properties"]["eo:cloud_cover"] < most
    )


def main() -> None:
    """Serve the sample, see :func:`serve_sample`, until the input ends."""
    samples, folder = map(Path, sys.argv[1:])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    _Handler.folder = folder
    _Handler.items = [_make_item(samples / file, folder, url, *of) for *of, file in SCENES]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(url, flush=True)
    sys.stdin.read()  # until the notebook's process has ended


if __name__ == "__main__":
    main()
