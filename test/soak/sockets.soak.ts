/**
 * 200 web sockets and 200 raw sockets echo checksummed bytes while generations change every 500 ms: until 100 MB have gone back and forth, at
 * least. Some clients do not read for a while now and then; the application leaves bytes unread now and then.
 */
import { setTimeout as delay } from "node:timers/promises";
import { expect, test } from "vitest";
import { startDaemon } from "../support/daemon.ts";
import { EchoClients } from "../support/echo.ts";
import { commandOf } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { report, soakOptions } from "./report.ts";

// They think for so long that the machine has time for a deploy within `every`.
const { connections, slow, think, megabytes, least, every } = soakOptions({
  connections: 200,
  slow: 4,
  think: 300,
  megabytes: 100,
  least: 40,
  every: 500,
});

test("sockets live through generations that change all the time", { timeout: 900_000 }, async () => {
  const service = (name: string, protocol: string): Record<string, unknown> => ({
    command: commandOf("echoes.mjs"),
    version: "v0",
    listeners: [name],
    environment: { PROTOCOL: protocol },
    ready: { by: "notify" },
    deploy: { bake: "0ms" },
    drain: { timeout: "60s" },
  });
  await using daemon = await startDaemon({
    config: {
      listeners: { raw: { address: "tcp:127.0.0.1:0" }, web: { address: "tcp:127.0.0.1:0" } },
      services: { raw: service("raw", "net"), web: service("web", "ws") },
      marks: { base: 0x1_0000 * (1 + (process.pid % 0x7f00)) },
    },
  });
  const status = await daemon.status();
  const clients = [
    new EchoClients("net", addressOf(status, "raw").port, connections, slow, think),
    new EchoClients("ws", addressOf(status, "web").port, connections, slow, think),
  ];
  await Promise.all(clients.map((each) => each.started()));
  const begun = performance.now();
  let deploys = 0;
  const isEnough = (): boolean => clients.reduce((sum, { bytes }) => sum + bytes, 0) >= megabytes * 1_000_000;
  while (!isEnough() || deploys < least) {
    const next = delay(every);
    const both = ["raw", "web"].map((service) => daemon.deploy(`v${deploys + 1}`, { service }));
    for (const deploy of await Promise.all(both)) expect(deploy.phase).toBe("succeeded");
    deploys += 1;
    await next;
  }
  const seconds = (performance.now() - begun) / 1000;
  const [raw, web] = await Promise.all(clients.map((each) => each.stop()));
  const { json } = await daemon.api("GET", "/metrics");
  const counters = String(json)
    .split("\n")
    .filter((line) => line.startsWith("handoffd_connections_move"));
  report({ connections, deploys: deploys * 2, secondsOfLoad: Math.round(seconds), raw, web, counters });
  for (const seen of [raw, web])
    expect(seen).toMatchObject({ connections, closed: 0, corrupt: 0, codes: {} });
});
