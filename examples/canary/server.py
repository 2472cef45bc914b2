# A web server in Python, with nothing but its standard library, that Prometheus can look at generation by generation: each process
# serves its measurements on a port of its own, and tells Prometheus where that is, by a file (file_sd_configs in prometheus.yml).
# Asked through the listener that all generations share, it would be now this one's answer and now that one's.
#
# So that there is something to find: a version whose name has "faulty" in it answers every fifth request with 500, and one with
# "slow" in it takes 300 ms.
import json
import os
import signal
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SERVICE = os.environ.get("HANDOFF_SERVICE", "web")
VERSION = os.environ.get("HANDOFF_VERSION", "none")
GENERATION = os.environ.get("HANDOFF_GENERATION", "0")
INSTANCE = os.environ.get("HANDOFF_INSTANCE", "1")
TARGETS = os.environ.get("METRICS_TARGETS")
ERRORS_ARE = 5 if "faulty" in VERSION else None
TAKES_S = 0.3 if "slow" in VERSION else 0

BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5)
# Both are there from the start: a counter that begins to exist with its first error has no rate of that error.
requests = {200: 0, 500: 0}
buckets = [0] * len(BUCKETS)
seconds = 0.0
counting = threading.Lock()
draining = threading.Event()


def page():
    """No version among the labels: Prometheus puts it there, as it stands in the file below."""
    with counting:
        total = sum(requests.values())
        lines = ["# HELP http_requests_total Requests that were answered.", "# TYPE http_requests_total counter"]
        lines += [f'http_requests_total{{code="{code}"}} {count}' for code, count in requests.items()]
        lines += ["# HELP http_request_duration_seconds How long answers took."]
        lines += ["# TYPE http_request_duration_seconds histogram"]
        for most, count in zip(BUCKETS, buckets):
            lines.append(f'http_request_duration_seconds_bucket{{le="{most}"}} {count}')
        lines.append(f'http_request_duration_seconds_bucket{{le="+Inf"}} {total}')
        lines += [f"http_request_duration_seconds_sum {seconds}", f"http_request_duration_seconds_count {total}", ""]
        return "\n".join(lines)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body in one packet.
    wbufsize = -1

    def send(self, status, text, kind="text/plain; charset=utf-8"):
        body = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("X-Version", VERSION)
        self.send_header("X-Generation", GENERATION)
        # A client that keeps its connection learns here that it must open another: nothing is closed under it.
        if draining.is_set():
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


class Users(Handler):
    # An idle connection ends after so long, in a drain too.
    timeout = 5

    def do_GET(self):
        global seconds
        # Not measured: who asks are the checks, not the users.
        if self.path == "/healthz":
            return self.send(200, "well\n")
        began = time.perf_counter()
        time.sleep(TAKES_S)
        with counting:
            total = sum(requests.values()) + 1
            status = 500 if ERRORS_ARE and total % ERRORS_ARE == 0 else 200
            requests[status] += 1
            took = time.perf_counter() - began
            seconds += took
            for index, most in enumerate(BUCKETS):
                buckets[index] += took <= most
        self.send(status, f"version {VERSION} (generation {GENERATION}, pid {os.getpid()})\n")


class Prometheus(Handler):
    def do_GET(self):
        self.send(200, page(), "text/plain; version=0.0.4")


class Server(ThreadingHTTPServer):
    # The end waits for the answers that are under way.
    daemon_threads = False

    @classmethod
    def of(cls, inherited):
        server = cls(inherited.getsockname(), Users, bind_and_activate=False)
        server.socket.close()
        # Several instances may wait for the same connection: one of them gets it.
        inherited.setblocking(False)
        server.socket = inherited
        return server


def tell(port):
    """Where Prometheus finds this process. Moved into its place whole: Prometheus reads it as soon as it changes."""
    path = f"{TARGETS}/{SERVICE}-{GENERATION}-{INSTANCE}.json"
    labels = {"service": SERVICE, "version": VERSION, "generation": GENERATION, "instance": INSTANCE}
    os.makedirs(TARGETS, exist_ok=True)
    with open(f"{path}.new", "w") as file:
        json.dump([{"targets": [f"127.0.0.1:{port}"], "labels": labels}], file)
    os.rename(f"{path}.new", path)
    return path


# LISTEN_PID says whom the sockets are meant for: a child of that process must not take them for its own.
if os.environ.get("LISTEN_PID") == str(os.getpid()):
    users = Server.of(socket.socket(fileno=3))
else:
    users = Server(("127.0.0.1", int(os.environ.get("PORT", "8080"))), Users)

file = None
if TARGETS:
    metrics = ThreadingHTTPServer(("127.0.0.1", 0), Prometheus)
    threading.Thread(target=metrics.serve_forever, daemon=True).start()
    file = tell(metrics.server_port)


def drain(*_):
    draining.set()
    # In a thread of its own: it waits for the loop that this signal has interrupted.
    threading.Thread(target=users.shutdown).start()


signal.signal(signal.SIGTERM, drain)
users.serve_forever(poll_interval=0.05)
users.server_close()
if file:
    os.unlink(file)
