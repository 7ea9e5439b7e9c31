"""A web server on this machine that serves files well and badly, and small weight files."""

import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from deeplab_repro.catalog import Entry
from prototxt_import import write_weights


class Site:
    """Files by path, and how they are served. cut: bytes after which the connection ends; pause: seconds between
    pieces; ranges: whether parts are given; requests: (path, Range header) as they came."""

    def __init__(self):
        self.files, self.tags = {}, {}
        self.cut, self.pause, self.ranges, self.announce = None, 0.0, True, True
        self.requests = []

    def put(self, path, data, tag='"one"'):
        self.files[path], self.tags[path] = data, tag
        return f"{self.address}{path}"


def _handler(site):
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            site.requests.append((self.path, self.headers.get("Range")))
            data = site.files.get(self.path)
            if data is None:
                self.send_error(404)
                return
            start, wanted = 0, self.headers.get("Range")
            if wanted and site.ranges and self.headers.get("If-Range") == site.tags[self.path]:
                start = int(wanted.removeprefix("bytes=").rstrip("-"))
                if start >= len(data):
                    self.send_error(416)
                    return
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
            else:
                self.send_response(200)
            if site.announce:
                self.send_header("Content-Length", str(len(data) - start))
            if site.tags[self.path]:
                self.send_header("ETag", site.tags[self.path])
            self.end_headers()
            stop = len(data) if site.cut is None else min(len(data), start + site.cut)
            try:
                for at in range(start, stop, 1 << 14):
                    self.wfile.write(data[at : min(stop, at + (1 << 14))])
                    self.wfile.flush()
                    time.sleep(site.pause)
            except OSError:
                pass  # the client went away
            self.close_connection = True

    return Handler


@pytest.fixture
def site():
    site = Site()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(site))
    server.daemon_threads = True
    site.address = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield site
    server.shutdown()
    server.server_close()


@pytest.fixture
def tiny(tmp_path):
    """An entry of two tensors of 120 000 numbers, and the bytes of its file."""
    weights = {"fc": [np.random.default_rng(3).normal(size=(400, 299)).astype(np.float32), np.zeros(400, np.float32)]}
    write_weights(weights, None, tmp_path / "made.caffemodel")
    data = (tmp_path / "made.caffemodel").read_bytes()
    return Entry("tiny", "tiny.caffemodel", blobs=2, parameters=120_000, trained_on="nothing"), data
