import type { Config } from "./daemon.ts";
import { commandOf } from "./paths.ts";

/** A configuration of one listener, "web", and one service, "api", of polite.mjs. `service` adds to it or replaces. */
export function oneService(service: Config = {}, address = "tcp:127.0.0.1:0"): Config {
  return {
    listeners: { web: { address } },
    services: {
      api: {
        command: commandOf("polite.mjs"),
        version: "v0",
        listeners: ["web"],
        deploy: { bake: "50ms" },
        drain: { timeout: "20s" },
        ...service,
      },
    },
  };
}
