# WSGI: / at once, /slow after a tenth of a second.
import os
import time

VERSION = os.environ.get("HANDOFF_VERSION", "none")
GENERATION = os.environ.get("HANDOFF_GENERATION", "none")


def application(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        time.sleep(0.1)
    body = f"version {VERSION} (generation {GENERATION}, pid {os.getpid()})\n".encode()
    start_response(
        "200 OK",
        [
            ("Content-Type", "text/plain"),
            ("Content-Length", str(len(body))),
            ("X-Version", VERSION),
            ("X-Generation", GENERATION),
        ],
    )
    return [body]
