"""Serve a small catalogue of photographs over HTTP; refuse some requests.

GET /like/HASH answers the entries whose difference hash is near HASH, as JSON. Every third
request is refused with 503, as by a service under load, unless its hash was refused before.
An answer takes a tenth of a second. The address is printed first; each request is one line
on stderr: its status and path.
"""

import json
import sys
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

ENTRIES = json.loads(Path(__file__).with_name("catalogue.json").read_text())
NEAR = 6  # differing bits of 64
ANSWER_SECONDS = 0.1

requests = count(1)
refused: set[str] = set()


class Catalogue(BaseHTTPRequestHandler):
    """Answer one request."""

    def do_GET(self) -> None:
        time.sleep(ANSWER_SECONDS)
        busy = next(requests) % 3 == 0 and self.path not in refused
        refused.update([self.path] if busy else [])
        wanted = int(self.path.rpartition("/")[2], 16)
        near = [each for each in ENTRIES if (int(each["hash"], 16) ^ wanted).bit_count() <= NEAR]
        body = b"" if busy else json.dumps(near).encode()
        self.send_response(503 if busy else 200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        with suppress(BrokenPipeError):  # who asked was killed meanwhile
            self.wfile.write(body)

    def log_message(self, _format: str, *_args: object) -> None:
        """Leave the default log out: `log_request` prints what matters."""

    def log_request(self, code: int | str = "-", _size: int | str = "-") -> None:
        print(int(code), self.path, file=sys.stderr, flush=True)


if __name__ == "__main__":
    server = ThreadingHTTPServer(("127.0.0.1", 0), Catalogue)
    print(f"http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()
