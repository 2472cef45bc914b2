// node:http: / at once, /slow after a tenth of a second.
import { createServer } from "node:http";
import net from "node:net";

const {
  HANDOFF_VERSION = "none",
  HANDOFF_GENERATION = "none",
  LISTEN_FDS,
  LISTEN_PID,
  PORT = "8080",
} = process.env;
let draining = false;

const server = createServer((request, response) => {
  setTimeout(answer, request.url === "/slow" ? 100 : 0, response);
});

function answer(response) {
  // A client that keeps its connection learns here that it must open another: nothing is closed under it.
  if (draining) response.setHeader("Connection", "close");
  response.setHeader("Content-Type", "text/plain");
  response.setHeader("X-Version", HANDOFF_VERSION);
  response.setHeader("X-Generation", HANDOFF_GENERATION);
  response.end(`version ${HANDOFF_VERSION} (generation ${HANDOFF_GENERATION}, pid ${process.pid})\n`);
}

const inherited = Number(LISTEN_FDS) > 0 && LISTEN_PID === String(process.pid);
server.listen(inherited ? { fd: 3 } : { port: Number(PORT) });

process.once("SIGTERM", () => {
  draining = true;
  // Not http's own close(): that one also closes idle connections, perhaps just as a request is on its way.
  net.Server.prototype.close.call(server);
});
