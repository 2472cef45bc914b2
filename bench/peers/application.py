"""The same application for gunicorn."""

import os
import time

GENERATION = str(os.getpid())  # gunicorn loads it in the worker.


def portions():
    for _ in range(30):
        yield b"." * 64
        time.sleep(0.1)


def application(environ, start_response):
    head = [("x-generation", GENERATION), ("Content-Type", "text/plain")]
    if environ["PATH_INFO"] == "/stream":
        start_response("200 OK", head)
        return portions()
    start_response("200 OK", head + [("Content-Length", "3")])
    return [b"ok\n"]
