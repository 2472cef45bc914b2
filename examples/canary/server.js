// A web server that Prometheus can look at, generation by generation: each process serves its measurements on a port of its
// own, and tells Prometheus where that is, by a file (file_sd_configs in prometheus.yml). Asked through the listener that all
// generations share, it would be now this one's answer and now that one's.
//
// So that there is something to find: a version whose name has "faulty" in it answers every fifth request with 500, and one with
// "slow" in it takes 300 ms.
import { mkdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import net from "node:net";

const {
  HANDOFF_SERVICE = "web",
  HANDOFF_VERSION = "none",
  HANDOFF_GENERATION = "0",
  HANDOFF_INSTANCE = "1",
  LISTEN_FDS,
  LISTEN_PID,
  METRICS_TARGETS,
  PORT = "8080",
} = process.env;
const ERRORS_ARE = HANDOFF_VERSION.includes("faulty") ? 5 : Infinity;
const TAKES_MS = HANDOFF_VERSION.includes("slow") ? 300 : 0;

const BUCKETS = [0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5];
// Both are there from the start: a counter that begins to exist with its first error has no rate of that error.
const requests = { 200: 0, 500: 0 };
const buckets = BUCKETS.map(() => 0);
let seconds = 0;
let draining = false;

const server = createServer((request, response) => {
  response.setHeader("x-version", HANDOFF_VERSION);
  response.setHeader("x-generation", HANDOFF_GENERATION);
  // A client that keeps its connection learns here that it must open another: nothing is closed under it.
  if (draining) response.setHeader("Connection", "close");
  // Not measured: who asks are the checks, not the users.
  if (request.url === "/healthz") response.end("well\n");
  else setTimeout(answer, TAKES_MS, response, performance.now());
});

function answer(response, began) {
  const total = requests[200] + requests[500] + 1;
  response.statusCode = total % ERRORS_ARE === 0 ? 500 : 200;
  response.end(`version ${HANDOFF_VERSION} (generation ${HANDOFF_GENERATION}, pid ${process.pid})\n`);
  const took = (performance.now() - began) / 1000;
  requests[response.statusCode] += 1;
  seconds += took;
  BUCKETS.forEach((most, index) => (buckets[index] += took <= most ? 1 : 0));
}

// No version among the labels: Prometheus puts it there, as it stands in the file below.
function page() {
  const total = requests[200] + requests[500];
  return [
    "# HELP http_requests_total Requests that were answered.",
    "# TYPE http_requests_total counter",
    ...Object.entries(requests).map(([code, count]) => `http_requests_total{code="${code}"} ${count}`),
    "# HELP http_request_duration_seconds How long answers took.",
    "# TYPE http_request_duration_seconds histogram",
    ...BUCKETS.map((most, index) => `http_request_duration_seconds_bucket{le="${most}"} ${buckets[index]}`),
    `http_request_duration_seconds_bucket{le="+Inf"} ${total}`,
    `http_request_duration_seconds_sum ${seconds}`,
    `http_request_duration_seconds_count ${total}`,
    "",
  ].join("\n");
}

const metrics = createServer((_request, response) => {
  response.setHeader("Content-Type", "text/plain; version=0.0.4");
  response.end(page());
});

/** Where Prometheus finds this process. Moved into its place whole: Prometheus reads it as soon as it changes. */
const file = `${METRICS_TARGETS}/${HANDOFF_SERVICE}-${HANDOFF_GENERATION}-${HANDOFF_INSTANCE}.json`;

function tell() {
  const labels = {
    service: HANDOFF_SERVICE,
    version: HANDOFF_VERSION,
    generation: HANDOFF_GENERATION,
    instance: HANDOFF_INSTANCE,
  };
  mkdirSync(METRICS_TARGETS, { recursive: true });
  writeFileSync(
    `${file}.new`,
    JSON.stringify([{ targets: [`127.0.0.1:${metrics.address().port}`], labels }]),
  );
  renameSync(`${file}.new`, file);
}

// LISTEN_PID says whom the sockets are meant for: a child of that process must not take them for its own.
const inherited = Number(LISTEN_FDS) > 0 && LISTEN_PID === String(process.pid);
server.listen(inherited ? { fd: 3 } : { port: Number(PORT) });
if (METRICS_TARGETS !== undefined) metrics.listen(0, "127.0.0.1", tell);

process.once("SIGTERM", () => {
  draining = true;
  // Not http's own close(): that one also closes idle connections, perhaps just as a request is on its way.
  net.Server.prototype.close.call(server);
});

server.once("close", () => {
  if (METRICS_TARGETS !== undefined) rmSync(file, { force: true });
  metrics.close();
  metrics.closeAllConnections();
});
