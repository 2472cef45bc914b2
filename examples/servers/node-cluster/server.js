// node:cluster: / at once, /slow after a tenth of a second. The primary accepts and deals out, two workers answer.
import cluster from "node:cluster";
import { createServer } from "node:http";
import net from "node:net";

const { HANDOFF_VERSION = "none", HANDOFF_GENERATION = "none", LISTEN_FDS, PORT = "8080" } = process.env;
const WORKERS = 2;
const LAME_DUCK_MS = 2000;
let draining = false;

function lead() {
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
  // Not http's own close(), nor worker.disconnect(): these close idle connections, perhaps just as a request is on its way.
  const end = () => net.Server.prototype.close.call(server, () => process.disconnect());
  process.once("message", () => {
    draining = true;
    // The primary may still be dealing out connections: it would lose those that no worker takes any more.
    setTimeout(end, LAME_DUCK_MS);
  });
}

if (cluster.isPrimary) lead();
else work();
