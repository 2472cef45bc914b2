/** Services in states that are worth a golden file of the snapshot's format (test/golden/). */
import { readFileSync } from "node:fs";
import type { Config, Daemon } from "./daemon.ts";
import { oneService } from "./one-service.ts";
import { root } from "./paths.ts";
import type { Deploy } from "./status.ts";

export interface Scene {
  readonly config: Config;
  /** Brings the service "api" there, and returns when it stays as it is. */
  readonly play: (daemon: Daemon) => Promise<void>;
}

const verify = [{ http: { path: "/healthz", count: 2 } }, { command: ["/bin/true"], timeout: "10s" }];
const analysis = { command: ["/bin/true"], every: "50ms", samples: 1 };

export const SCENES: Readonly<Record<string, Scene>> = {
  /** In the middle of a canary whose guests are pinned, after a rolling deploy, a recreate and one that failed. */
  "v3-canary": {
    config: oneService({
      instances: 2,
      environment: { NAME: "value" },
      verify: [...verify, { command: ["/bin/sh", "-c", "test $HANDOFF_VERSION != bad"], timeout: "10s" }],
      deploy: {
        strategy: "canary",
        steps: [{ weight: "50%", pause: true }],
        share: "sticky",
        pin: ["10.1.0.0/16"],
        bake: "50ms",
        analysis,
      },
    }),
    play: async (daemon) => {
      await settled(daemon, "v1", { strategy: "rolling" });
      await settled(daemon, "v2", { strategy: "recreate" });
      await settled(daemon, "bad", { strategy: "blue-green" });
      const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v3" });
      const { id } = json as Deploy;
      await daemon.until("a step that waits", ({ services: [service] }) => {
        const { deploy } = service ?? {};
        return deploy?.id === id && deploy.paused === true && deploy.weight === 0.5;
      });
    },
  },
  /** While connections wait, and what served idles. */
  "v3-held": {
    config: oneService({ verify }),
    play: async (daemon) => {
      await settled(daemon, "v1");
      await daemon.api("PUT", "/v1/services/api/scale", { instances: 2 });
      await daemon.until("two that serve", ({ services: [service] }) => {
        const { instances = [] } = service?.generations[0] ?? {};
        return instances.length === 2 && instances.every(({ state }) => state === "serving");
      });
      await daemon.api("POST", "/v1/services/api/hold", { idle: true });
      await daemon.until("a queue that has the weight", ({ services: [service] }) =>
        service?.generations.some(({ weight, instances }) => weight === 1 && instances.length === 0),
      );
    },
  },
};

async function settled(daemon: Daemon, version: string, body: Config = {}): Promise<void> {
  await daemon.deploy(version, { body });
  await daemon.until("one generation", ({ services: [service] }) => service?.generations.length === 1);
}

/** As a daemon of that format has written it. */
export function golden(name: string): Readonly<Record<string, unknown>> {
  const text = readFileSync(`${root}/test/golden/snapshot-${name}.json`, "utf8");
  return JSON.parse(text) as Readonly<Record<string, unknown>>;
}
