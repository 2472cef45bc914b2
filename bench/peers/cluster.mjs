// node:cluster's primary with one worker. SIGHUP starts another one and lets the old one go when that listens.
import cluster from "node:cluster";
import process from "node:process";
import { fileURLToPath } from "node:url";

cluster.setupPrimary({ exec: fileURLToPath(new URL("application.mjs", import.meta.url)) });
let current = cluster.fork();
process.on("SIGHUP", () => {
  const next = cluster.fork();
  next.once("listening", () => {
    current.disconnect(); // Closes its servers, waits for their connections, then ends it.
    current = next;
  });
});
process.once("SIGTERM", () => {
  for (const worker of Object.values(cluster.workers)) worker.process.kill("SIGKILL");
  process.exit(0);
});
