"""Serve the sample as a STAC API on this machine: no network is needed.

The items are like those of ``sentinel-2-l2a`` on the Planetary Computer: a file
for each band, addresses that must be signed, and the processing baseline among
the properties. The pixels are those of the sample, of level 1C; the days are
made up.
"""

import atexit
import json
import os
import subprocess
import sys
import threading
from datetime import datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pystac
import rasterio
from pystac.extensions.eo import EOExtension
from pystac.extensions.projection import ProjectionExtension
from rasterio.warp import transform_bounds

COLLECTION = "sentinel-2-l2a"
BANDS = ("B02", "B03", "B04", "B08")
# Name, time, cloud cover in percent, file of the sample.
SCENES = (
    ("S2_20200615_CLOUDY", "2020-06-15T16:00Z", 55, "s2_cloudy.tif"),
    ("S2_20200702_CLEAR", "2020-07-02T16:00Z", 1, "s2_clear.tif"),
)
BASELINE = "02.14"  # before 04.00: no offset
_API = "https://api.stacspec.org/v1.0.0/"
_CONFORMS = ("core", "item-search", "item-search#query")
_SIGNATURE = "a-secret"


def serve_sample(samples: Path, folder: Path) -> str:
    """Serve the sample as COGs of one band, and return the address.

    The server is a process of its own: GDAL keeps Python's lock while it opens
    a file, so a server in the same process could not answer. It ends with this
    process.

    Args:
        samples: folder of the sample scenes.
        folder: where the COGs are written.
    """
    known = os.environ.get("no_proxy", "")
    os.environ["no_proxy"] = f"{known},127.0.0.1"  # asked past any proxy
    pipe = subprocess.PIPE
    server = subprocess.Popen(
        [sys.executable, __file__, str(samples), str(folder)],
        stdin=pipe,
        stdout=pipe,
        text=True,
        start_new_session=True,  # "Interrupt" in Jupyter is not meant for it
    )
    url = server.stdout.readline().strip()
    atexit.register(server.communicate)  # closes its input, waits for its end
    return url


def sign(found: Any) -> None:
    """Sign the addresses of found items in place.

    Args:
        found: whatever the client reads; a page of items is a dict.
    """
    if isinstance(found, dict):
        for item in found.get("features", ()):
            for asset in item["assets"].values():
                asset["href"] += f"?sv=2024-05-04&sig={_SIGNATURE}"


def _make_item(
    url: str,
    folder: Path,
    name: str,
    time: str,
    cloud_cover: float,
    scene: Path,
) -> dict[str, Any]:
    """Write a scene as COGs of one band, and return its item."""
    with rasterio.open(scene) as source:
        dn, crs, transform = source.read(), source.crs, source.transform
        box = transform_bounds(crs, "EPSG:4326", *source.bounds)
    facts = {"s2:processing_baseline": BASELINE}
    day = datetime.fromisoformat(time)
    item = pystac.Item(name, _ring(*box), list(box), day, facts)
    item.collection_id = COLLECTION
    EOExtension.ext(item, add_if_missing=True).cloud_cover = cloud_cover
    ProjectionExtension.ext(item, add_if_missing=True).code = crs.to_string()
    _, height, width = dn.shape
    profile: dict[str, Any] = {"driver": "COG", "dtype": "uint16", "count": 1}
    profile |= {"crs": crs, "transform": transform, "nodata": 0}
    profile |= {"height": height, "width": width, "blocksize": 128}
    for band, values in zip(BANDS, dn, strict=True):
        file = f"{name}_{band}_10m.tif"
        with rasterio.open(folder / file, "w", **profile) as out:
            out.write(values, 1)
        cog = pystac.MediaType.COG
        item.add_asset(band, pystac.Asset(f"{url}/{file}", media_type=cog))
    described: dict[str, Any] = item.to_dict(include_self_link=False)
    return described


def _ring(
    west: float, south: float, east: float, north: float
) -> dict[str, Any]:
    corners = [(west, south), (east, south), (east, north), (west, north)]
    return {"type": "Polygon", "coordinates": [[*corners, corners[0]]]}


class _Handler(BaseHTTPRequestHandler):
    """Answers the first page, a search, and reads of parts of files."""

    folder: Path
    items: list[dict[str, Any]]

    def do_GET(self) -> None:
        address = urlsplit(self.path)
        file = self.folder / Path(address.path).name
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
        length = int(self.headers["Content-Length"])
        wanted = json.loads(self.rfile.read(length))
        found = [item for item in self.items if _matches(item, wanted)]
        page = {"type": "FeatureCollection", "features": found, "links": []}
        self._send_json(page)

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
            "conformsTo": [_API + part for part in _CONFORMS],
            "links": [
                {"rel": "root", "href": root},
                {"rel": "self", "href": root},
                search | {"type": "application/geo+json"},
            ],
        }

    def _send_json(self, answer: dict[str, Any]) -> None:
        body = json.dumps(answer).encode()
        self._send(200, body, {"Content-Type": "application/json"})

    def _send_part(self, data: bytes) -> None:
        asked = self.headers.get("Range")
        headers = {"Content-Type": "image/tiff", "Accept-Ranges": "bytes"}
        if not asked:
            self._send(200, data, headers)
            return
        first, _, last = asked.removeprefix("bytes=").partition("-")
        start, stop = int(first), min(int(last or len(data)) + 1, len(data))
        headers["Content-Range"] = f"bytes {start}-{stop - 1}/{len(data)}"
        self._send(206, data[start:stop], headers)

    def _refuse(self, status: int) -> None:
        self._send(status, b"", {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


def _matches(item: dict[str, Any], wanted: dict[str, Any]) -> bool:
    """Return whether an item fits a search: collection, day, area, clouds."""
    first, _, last = wanted.get("datetime", "0/9").partition("/")
    left, bottom, right, top = wanted.get("bbox", item["bbox"])
    west, south, east, north = item["bbox"]
    most = wanted.get("query", {}).get("eo:cloud_cover", {}).get("lt", 101)
    return (
        item["collection"] in wanted.get("collections", [COLLECTION])
        and first <= item["properties"]["datetime"] <= last
        and (
            left <= east and west <= right and bottom <= north and south <= top
        )
        and item["properties"]["eo:cloud_cover"] < most
    )


def main() -> None:
    """Serve the sample, see :func:`serve_sample`, until the input ends."""
    samples, folder = map(Path, sys.argv[1:])
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    url = f"http://127.0.0.1:{server.server_port}"
    _Handler.folder = folder
    _Handler.items = [
        _make_item(url, folder, *facts, samples / file)
        for *facts, file in SCENES
    ]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(url, flush=True)
    sys.stdin.read()  # until the notebook's process has ended


if __name__ == "__main__":
    main()
