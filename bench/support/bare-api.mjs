// The least that a program with the daemon's libraries can be: an API, a log, metrics.
import process from "node:process";
import { fastify } from "fastify";
import { pino } from "pino";
import { Registry, collectDefaultMetrics } from "prom-client";

const registry = new Registry();
collectDefaultMetrics({ register: registry });
const app = fastify({ loggerInstance: pino({ level: "warn" }) });
app.get("/", () => ({ ok: true }));
app.get("/metrics", (_request, reply) => {
  void reply.type(registry.contentType);
  return registry.metrics();
});
await app.listen({ host: "127.0.0.1", port: 0 });
console.log(JSON.stringify({ port: app.server.address().port }));
process.once("SIGTERM", () => process.exit(0));
