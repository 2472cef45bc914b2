// A web server that knows nothing of handoffd: it takes an inherited socket when there is one, as under systemd,
// and opens its own port when there is none.
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
  // A client that keeps its connection learns here that it must open another: nothing is closed under it.
  if (draining) response.setHeader("Connection", "close");
  response.setHeader("Content-Type", "text/plain");
  response.end(`version ${HANDOFF_VERSION} (generation ${HANDOFF_GENERATION}, pid ${process.pid})\n`);
});

// LISTEN_PID says whom the sockets are meant for: a child of that process must not take them for its own.
const inherited = Number(LISTEN_FDS) > 0 && LISTEN_PID === String(process.pid);
server.listen(inherited ? { fd: 3 } : { port: Number(PORT) });

process.once("SIGTERM", () => {
  draining = true;
  // Not http's own close(): that one also closes idle connections, perhaps just as a request is on its way.
  net.Server.prototype.close.call(server);
});
