// The application of every system that runs Node: one short answer, one that takes three seconds, and the end that Node's
// documentation shows. Whoever answers says so in x-generation. With BENCH_SDK, a module, it is served by the SDK.
import { createServer } from "node:http";
import process from "node:process";

const GENERATION = String(process.pid);
const KEPT_MS = 60_000; // Longer than any load: a connection that ends was ended by a restart.
const PORTION_MS = 100;

const server = createServer((request, response) => {
  response.setHeader("x-generation", GENERATION);
  const { pathname, searchParams } = new URL(request.url, "http://localhost");
  if (pathname === "/stream") stream(response, Number(searchParams.get("ms")));
  else response.end("ok\n");
});
server.keepAliveTimeout = KEPT_MS;

function stream(response, ms) {
  let left = Math.ceil(ms / PORTION_MS);
  const timer = setInterval(() => {
    response.write(".".repeat(64));
    if (--left > 0) return;
    clearInterval(timer);
    response.end();
  }, PORTION_MS);
  response.once("close", () => clearInterval(timer));
}

/** systemd's descriptor, Server::Starter's ("127.0.0.1:8080=4"), or a port of its own. */
function where({ LISTEN_FDS, SERVER_STARTER_PORT, PORT }) {
  if (LISTEN_FDS !== undefined) return { fd: 3 };
  if (SERVER_STARTER_PORT !== undefined) return { fd: Number(SERVER_STARTER_PORT.split("=")[1]) };
  return { port: Number(PORT), host: "127.0.0.1" };
}

const { BENCH_SDK } = process.env;
if (BENCH_SDK === undefined) {
  server.listen(where(process.env));
  for (const signal of ["SIGTERM", "SIGINT"]) process.once(signal, () => server.close(() => process.exit(0)));
} else {
  const { serve } = await import(BENCH_SDK);
  await serve(server);
}
