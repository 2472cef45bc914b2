import { describe, expect, it } from "vitest";
import { claimsOf } from "../../../daemon/sockets/claims.ts";
import type { Config } from "../../../daemon/config/config.ts";
import type { ServiceRecord } from "../../../daemon/state/snapshot.ts";

/** A service of the configuration, by its listeners. */
function configOf(services: Readonly<Record<string, readonly string[]>>): Pick<Config, "services"> {
  const list = Object.entries(services).map(([name, listeners]) => ({ name, listeners }));
  return { services: list } as unknown as Pick<Config, "services">;
}

/** Records of services, by the listeners of their generations. */
function recordsOf(services: Readonly<Record<string, readonly string[]>>): Map<string, ServiceRecord | null> {
  return new Map(
    Object.entries(services).map(([service, listeners]) => {
      const slots = Object.fromEntries(listeners.map((name) => [name, 0]));
      return [service, { service, generations: [{ slots }] } as unknown as ServiceRecord];
    }),
  );
}

describe("the record that tells of a listener", () => {
  it("is that of the service whose generations have it, whatever the configuration says by now", () => {
    const recordAbout = claimsOf(
      configOf({ api: ["web"], other: [] }),
      recordsOf({ api: [], other: ["web"] }),
    );
    expect(recordAbout("web")?.service).toBe("other");
  });

  it("is that of its own service where several have it", () => {
    const records = recordsOf({ other: ["web"], api: ["web"] });
    expect(claimsOf(configOf({ api: ["web"] }), records)("web")?.service).toBe("api");
    expect(claimsOf(configOf({ third: ["web"] }), records)("web")?.service).toBe("other");
  });

  it("is that of its own service where none has it, and none where that has none", () => {
    const recordAbout = claimsOf(configOf({ api: ["web"], fresh: ["adm"] }), recordsOf({ api: [] }));
    expect(recordAbout("web")?.service).toBe("api");
    expect(recordAbout("adm")).toBeNull();
    expect(recordAbout("unused")).toBeNull();
  });

  it("is the first of the services that are to share it", () => {
    const records = recordsOf({ second: [], first: [] });
    expect(claimsOf(configOf({ first: ["web"], second: ["web"] }), records)("web")?.service).toBe("first");
  });
});
