// Fastify: / at once, /slow after a tenth of a second.
import net from "node:net";
import { fastify } from "fastify";

const {
  HANDOFF_VERSION = "none",
  HANDOFF_GENERATION = "none",
  LISTEN_FDS,
  LISTEN_PID,
  PORT = "8080",
} = process.env;
let draining = false;

// While it closes, Fastify would answer 503 to whoever asks once more on a kept connection.
const app = fastify({ return503OnClosing: false });

app.addHook("onSend", (request, reply, payload, done) => {
  // A client that keeps its connection learns here that it must open another: nothing is closed under it.
  if (draining) reply.header("Connection", "close");
  reply.header("X-Version", HANDOFF_VERSION).header("X-Generation", HANDOFF_GENERATION);
  done();
});

function who() {
  return `version ${HANDOFF_VERSION} (generation ${HANDOFF_GENERATION}, pid ${process.pid})\n`;
}
app.get("/", async () => who());
app.get("/slow", async () => {
  await new Promise((resolve) => setTimeout(resolve, 100));
  return who();
});

await app.ready();
const inherited = Number(LISTEN_FDS) > 0 && LISTEN_PID === String(process.pid);
// Not app.listen(): that one also binds what "localhost" is besides.
app.server.listen(inherited ? { fd: 3 } : { port: Number(PORT) });

process.once("SIGTERM", () => {
  draining = true;
  // Not app.close() yet: it closes idle connections, perhaps just as a request is on its way.
  net.Server.prototype.close.call(app.server, () => app.close());
});
