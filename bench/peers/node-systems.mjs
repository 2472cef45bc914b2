// The systems that run the Node application: handoffd, and what a user would pick instead.
import { existsSync, mkdirSync } from "node:fs";
import { createRequire } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { start } from "../support/child.mjs";
import { startDaemon } from "../support/daemon.mjs";
import { machine } from "../support/machine.mjs";
import { root } from "../support/product.mjs";
import { childrenOf, processesWith } from "../support/usage.mjs";
import { answers, APPLICATION, freePort, missingProgram, startProcess, versionOf } from "./system.mjs";

const ENDED = ["succeeded", "failed", "rolled-back", "aborted"];
/** PM2 is not among the packages of this project: npm install --prefix ~/.cache/handoffd-tests/pm2 pm2 */
const PM2 = join(homedir(), ".cache/handoffd-tests/pm2");
/** As long as start_server waits by itself before it ends the old one. handoffd's default is a minute. */
const BAKE = "1s";
const SDK = join(root, "dist/handoff/app.js");

/** The application by itself: what the others' throughput is compared with. */
export const bare = {
  name: "bare application",
  application: "Node",
  version: () => process.version,
  missing: () => null,
  async start(own, folder) {
    const port = await freePort();
    startProcess(own, folder, process.execPath, [APPLICATION], {
      env: { PORT: String(port) },
      signal: "SIGKILL",
    });
    await answers(port);
    return { port, supervisors: () => [] };
  },
};

function handoffd(name, { environment, ready, missing }) {
  return {
    name,
    application: "Node",
    version: () => machine().version,
    missing,
    async start(own) {
      const service = {
        command: [process.execPath, APPLICATION],
        environment,
        listeners: ["web"],
        ready: { by: ready },
        verify: [{ http: { listener: "web", path: "/", expect: 200 } }],
        deploy: { strategy: "blue-green", bake: BAKE },
      };
      const daemon = own(await startDaemon({ rest: () => ({ services: { api: service } }) }));
      await answers(daemon.port);
      return {
        port: daemon.port,
        supervisors: () => [daemon.pid, ...childrenOf(daemon.pid, "handoff-keeper")],
        async restart() {
          const { status, json, text } = await daemon.api("POST", "/v1/services/api/deploys", {});
          if (status !== 202) throw new Error(`the deploy was refused: ${text}`);
          for (;;) {
            const { json: deploy } = await daemon.api("GET", `/v1/deploys/${json.id}?wait=10s`);
            if (deploy.phase === "succeeded") return;
            if (ENDED.includes(deploy.phase))
              throw new Error(`the deploy has ${deploy.phase}: ${deploy.reason?.message}`);
          }
        },
      };
    },
  };
}

const pm2 = {
  name: "PM2 reload",
  application: "Node",
  version: () => createRequire(join(PM2, "x"))("pm2/package.json").version,
  missing: () =>
    existsSync(join(PM2, "node_modules/pm2"))
      ? null
      : `PM2 is missing (npm install --prefix ${PM2.replace(homedir(), "~")} pm2)`,
  async start(own, folder) {
    const port = await freePort();
    const home = join(folder, "pm2");
    mkdirSync(home);
    const client = start(process.execPath, [fileURLToPath(new URL("pm2.mjs", import.meta.url)), PM2], {
      env: { ...process.env, PM2_HOME: home },
    });
    const call = async (...words) => {
      client.child.stdin.write(`${JSON.stringify(words)}\n`);
      const { error } = JSON.parse(await client.line());
      if (error !== undefined) throw new Error(`pm2 ${words[0]}: ${error}`);
    };
    own({
      async [Symbol.asyncDispose]() {
        try {
          await call("delete", "all");
          await call("killDaemon");
        } finally {
          await client.end("SIGKILL");
        }
      },
    });
    await call("connect");
    await call("start", {
      name: "api",
      script: APPLICATION,
      exec_mode: "cluster",
      instances: 1,
      kill_timeout: 10_000, // The default of 1.6 s cuts the streams.
      env: { PORT: String(port) },
      vizion: false,
      pmx: false,
    });
    await answers(port);
    return {
      port,
      supervisors: () => processesWith(`God Daemon (${home})`),
      restart: () => call("reload", "api"),
    };
  },
};

const cluster = {
  name: "node:cluster",
  application: "Node",
  version: () => process.version,
  missing: () => null,
  async start(own, folder) {
    const port = await freePort();
    const primary = fileURLToPath(new URL("cluster.mjs", import.meta.url));
    const { child } = startProcess(own, folder, process.execPath, [primary], { env: { PORT: String(port) } });
    await answers(port);
    return {
      port,
      supervisors: () => [child.pid],
      restart: async () => void child.kill("SIGHUP"),
    };
  },
};

const startServer = {
  name: "start_server",
  application: "Node",
  version: () => versionOf("start_server", ["--version"]),
  missing: () => missingProgram("start_server", ["--version"], "libserver-starter-perl"),
  async start(own, folder) {
    const port = await freePort();
    const args = [`--port=127.0.0.1:${port}`, "--", process.execPath, APPLICATION];
    const { child } = startProcess(own, folder, "start_server", args);
    await answers(port);
    return {
      port,
      supervisors: () => [child.pid],
      restart: async () => void child.kill("SIGHUP"),
    };
  },
};

export const NODE_SYSTEMS = [
  handoffd("handoffd", { environment: {}, ready: "listening", missing: () => null }),
  handoffd("handoffd + SDK", {
    environment: { BENCH_SDK: SDK },
    ready: "notify",
    missing: () => (existsSync(SDK) ? null : "dist/handoff/app.js is missing"),
  }),
  pm2,
  cluster,
  startServer,
];
