/** The daemon as an upgrade sees it: what has to be still, what has to be written, and what goes on. */
import type { EventLog } from "../admin-api/events.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import { type Listener, slotName } from "../handoff/listener.ts";
import { packageVersion } from "../handoff/version.ts";
import type { Config } from "./config/config.ts";
import { reach } from "./fault.ts";
import type { Front } from "./front.ts";
import type { Metrics } from "./metrics.ts";
import type { Service } from "./service.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Body } from "./upgrade.ts";
import { essenceOf } from "./upgrade-state.ts";

/** What the supervisor has. */
export interface Parts {
  readonly services: readonly Service[];
  readonly listeners: readonly Listener[];
  readonly metrics: Metrics;
  /** Milliseconds since the epoch: when the first image was started. */
  readonly startedAt: number;
  /** How many images have been replaced so far. */
  readonly upgrades: number;
  readonly say: Surroundings["say"];
}

export function bodyOf(
  config: Config,
  lockFile: Descriptor,
  { services, listeners, metrics, startedAt, upgrades, say }: Parts,
  events: EventLog,
  front: Front,
): Body {
  return {
    pause: async () => {
      // The API first: whatever it was asked for has begun then.
      await front.pause();
      reach("upgrade.closed");
      await Promise.all(services.map((service) => service.pause()));
    },
    unpause: async () => {
      for (const service of services) service.unpause();
      await front.open();
    },
    save: () => {
      for (const service of services) service.save();
    },
    counters: () => metrics.export(),
    state: (counters) => ({
      version: packageVersion(),
      startedAt,
      upgrades,
      counters,
      events: events.state,
      idempotency: front.idempotency,
      essence: essenceOf(config),
    }),
    descriptors: () => {
      const slots = listeners.flatMap(({ name, slots: own }) =>
        own.map((slot) => [slotName(name, slot.index), slot.fd] as const),
      );
      const instances = services
        .flatMap(({ generations }) => generations)
        .flatMap((generation) => generation.instances)
        .flatMap(({ descriptors }) => [...descriptors]);
      return new Map([["lock", lockFile.fd], ...front.descriptors, ...slots, ...instances] as const);
    },
    say,
    tally: metrics,
    lastEvent: () => events.lastId,
  };
}
