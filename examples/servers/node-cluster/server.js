// node:cluster: / at once, /slow after a tenth of a second. Two workers accept and answer.
import cluster from "node:cluster";
import { createServer } from "node:http";
import net from "node:net";

const { HANDOFF_VERSION = "none", HANDOFF_GENERATION = "none", LISTEN_FDS, PORT = "8080" } = process.env;
const WORKERS = 2;
let draining = false;

function lead() {
  // Each worker accepts for itself: what the primary has accepted and no worker takes any more is lost.
  cluster.schedulingPolicy = cluster.SCHED_NONE;
  for (let n = 0; n < WORKERS; n += 1) cluster.fork();
  cluster.on("exit", () => {
    if (!draining) cluster.fork();
  });
  // Only this process gets the signal, and ends when its last worker has.
  process.once("SIGTERM", () => {
    draining = true;
    for (const worker of Object.values(cluster.workers)) worker.send("drain");
  });
}

function answer(response) {
  // A client that keeps its connection learns here that it must open another: nothing is closed under it.
  if (draining) response.setHeader("Connection", "close");
  response.setHeader("Content-Type", "text/plain");
  response.setHeader("X-Version", HANDOFF_VERSION);
  response.setHeader("X-Generation", HANDOFF_GENERATION);
  response.end(`version ${HANDOFF_VERSION} (generation ${HANDOFF_GENERATION}, pid ${process.pid})\n`);
}

function work() {
  const server = createServer((request, response) => {
    setTimeout(answer, request.url === "/slow" ? 100 : 0, response);
  });
  // The primary's descriptor 3: it is the primary that listens.
  server.listen(Number(LISTEN_FDS) > 0 ? { fd: 3 } : { port: Number(PORT) });
  process.once("message", () => {
    draining = true;
    // Not http's own close(), nor worker.disconnect(): these close idle connections, perhaps just as a request is on its way.
    net.Server.prototype.close.call(server, () => process.disconnect());
  });
}

if (cluster.isPrimary) lead();
else work();
