// Servers that reload themselves, each with its own way to run the application or to stand before it.
import { mkdirSync, writeFileSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import process from "node:process";
import { text } from "node:stream/consumers";
import { setTimeout as delay } from "node:timers/promises";
import { fileURLToPath } from "node:url";
import { bare } from "./node-systems.mjs";
import { childrenOf } from "../support/usage.mjs";
import { answers, APPLICATION, freePort, missingProgram, startProcess, versionOf } from "./system.mjs";

const DRAIN_MS = 8_000;
const LOOK_MS = 50;

const gunicorn = {
  name: "gunicorn HUP",
  application: "Python",
  version: () => versionOf("gunicorn", ["--version"]),
  missing: () => missingProgram("gunicorn", ["--version"], "gunicorn"),
  async start(own, folder) {
    const port = await freePort();
    const { child } = startProcess(
      own,
      folder,
      "gunicorn",
      [
        ...["--bind", `127.0.0.1:${port}`, "--workers", "1", "--worker-class", "gthread", "--threads", "24"],
        ...[
          "--keep-alive",
          "60",
          "--graceful-timeout",
          "10",
          "--chdir",
          fileURLToPath(new URL(".", import.meta.url)),
        ],
        "application:application",
      ],
      { env: { PYTHONDONTWRITEBYTECODE: "1" } },
    );
    await answers(port);
    return { port, supervisors: () => [child.pid], restart: async () => void child.kill("SIGHUP") };
  },
};

const puma = {
  name: "puma phased restart",
  application: "Ruby",
  version: () => versionOf("puma", ["--version"]),
  missing: () => missingProgram("puma", ["--version"], "puma"),
  async start(own, folder) {
    const port = await freePort();
    const file = join(folder, "puma.rb");
    const application = fileURLToPath(new URL("application.ru", import.meta.url));
    // Two: it ends a worker before it starts the one in its place.
    writeFileSync(
      file,
      `bind "tcp://127.0.0.1:${port}"\nrackup "${application}"\nworkers 2\nthreads 24, 24\npersistent_timeout 60\nworker_shutdown_timeout 10\nenvironment "production"\n`,
    );
    const { child } = startProcess(own, folder, "puma", ["-C", file]);
    await answers(port);
    return { port, supervisors: () => [child.pid], restart: async () => void child.kill("SIGUSR1") };
  },
};

const nginx = {
  name: "nginx reload",
  application: "nginx",
  version: () => versionOf("sh", ["-c", "nginx -v 2>&1"]),
  missing: () => missingProgram("nginx", ["-v"], "nginx-light"),
  async start(own, folder) {
    const port = await freePort();
    mkdirSync(join(folder, "temp"));
    writeFileSync(join(folder, "stream"), ".".repeat(30_000));
    const temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
      .map((name) => `${name}_temp_path ${folder}/temp/${name};`)
      .join(" ");
    writeFileSync(
      join(folder, "nginx.conf"),
      `daemon off; worker_processes 1; pid ${folder}/pid; error_log ${folder}/log;
${process.getuid() === 0 ? "user root;" : ""}
events { worker_connections 4096; }
http {
  access_log off; ${temporary}
  keepalive_timeout 60; keepalive_requests 1000000;
  server {
    listen 127.0.0.1:${port};
    add_header x-generation $pid always;
    location / { return 200 "ok\\n"; }
    location = /stream { alias ${folder}/stream; limit_rate 10k; }
  }
}
`,
    );
    const { child } = startProcess(own, folder, "nginx", ["-p", folder, "-c", join(folder, "nginx.conf")]);
    await answers(port);
    return { port, supervisors: () => [child.pid], restart: async () => void child.kill("SIGHUP") };
  },
};

const DEFAULTS = `defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
`;

const haproxyReload = {
  name: "HAProxy reload",
  application: "HAProxy before Node",
  version: () => versionOf("haproxy", ["-v"]),
  missing: () => missingProgram("haproxy", ["-v"], "haproxy"),
  async start(own, folder) {
    const port = await freePort();
    const behind = await bare.start(own, folder);
    const file = join(folder, "haproxy.cfg");
    writeFileSync(
      file,
      `global
  nbthread 1
  hard-stop-after 10s
  stats socket ${folder}/haproxy.sock level admin expose-fd listeners
${DEFAULTS}
listen web
  bind 127.0.0.1:${port}
  http-response set-header x-generation %pid
  server a 127.0.0.1:${behind.port}
`,
    );
    const { child } = startProcess(own, folder, "haproxy", ["-W", "-db", "-f", file]);
    await answers(port);
    return {
      port,
      supervisors: () => [child.pid, ...childrenOf(child.pid)],
      restart: async () => void child.kill("SIGUSR2"),
    };
  },
};

const blueGreen = {
  name: "HAProxy blue-green",
  application: "Node",
  version: () => versionOf("haproxy", ["-v"]),
  missing: () => missingProgram("haproxy", ["-v"], "haproxy"),
  async start(own, folder) {
    const ports = { blue: await freePort(), green: await freePort() };
    const port = await freePort();
    const run = (color) =>
      startProcess(own, folder, process.execPath, [APPLICATION], { env: { PORT: String(ports[color]) } });
    const file = join(folder, "haproxy.cfg");
    writeFileSync(
      file,
      `global
  nbthread 1
  stats socket ${folder}/haproxy.sock level admin
${DEFAULTS}
listen web
  bind 127.0.0.1:${port}
  server blue 127.0.0.1:${ports.blue}
  server green 127.0.0.1:${ports.green} disabled
`,
    );
    const { child } = startProcess(own, folder, "haproxy", ["-db", "-f", file], { signal: "SIGTERM" });
    let color = "blue";
    let current = run(color);
    await answers(port);
    const tell = (command) => text(connect(join(folder, "haproxy.sock")).end(`${command}\n`));
    return {
      port,
      supervisors: () => [child.pid],
      async restart() {
        const [was, old] = [color, current];
        color = was === "blue" ? "green" : "blue";
        current = run(color);
        await answers(ports[color]);
        await tell(`set server web/${color} state ready`);
        await tell(`set server web/${was} state drain`);
        const deadline = performance.now() + DRAIN_MS;
        while ((await sessionsOf(tell, was)) > 0 && performance.now() < deadline) await delay(LOOK_MS);
        await tell(`set server web/${was} state maint`);
        await old.end();
      },
    };
  },
};

/** How many requests the server has under way. */
async function sessionsOf(tell, server) {
  const rows = (await tell("show stat")).split("\n").map((line) => line.split(","));
  const at = rows[0]?.indexOf("scur") ?? -1;
  return Number(rows.find(([, name]) => name === server)?.[at] ?? 0);
}

export const RELOADERS = [gunicorn, puma, nginx, haproxyReload, blueGreen];
