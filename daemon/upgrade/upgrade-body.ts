/** The daemon as an upgrade sees it: what has to be still, what has to be written, and what goes on. */
import type { EventLog } from "../../admin-api/events.ts";
import type { Descriptor } from "../../handoff/descriptor.ts";
import { type Listener, slotName } from "../../handoff/listener.ts";
import { packageVersion } from "../../handoff/version.ts";
import type { Config } from "../config/config.ts";
import { reach } from "../fault.ts";
import type { Doors } from "../external/doors.ts";
import type { Front } from "../api/front.ts";
import type { Keeping } from "../sockets/keeping.ts";
import type { Metrics } from "../metrics.ts";
import type { Moves } from "../generation/moves.ts";
import type { Reloader } from "../reload/reload.ts";
import type { Service } from "../service/service.ts";
import type { Surroundings } from "../surroundings.ts";
import type { Body } from "./upgrade.ts";
import { essenceOf } from "./upgrade-state.ts";

/** What the supervisor has, as it is when it is asked. */
export interface Parts {
  /** In force. */
  readonly config: Config;
  readonly services: readonly Service[];
  readonly listeners: readonly Listener[];
  readonly keeping: Pick<Keeping, "stored" | "settled" | "keepOwn" | "letGoOfOwn"> | null;
  readonly reloading: Pick<Reloader, "pause" | "unpause">;
  readonly doors: Pick<Doors, "pause" | "unpause" | "descriptors">;
  readonly moves: Pick<Moves, "pause" | "unpause">;
  readonly metrics: Metrics;
  /** Milliseconds since the epoch: when the first image was started. */
  readonly startedAt: number;
  /** How many images have been replaced so far. */
  readonly upgrades: number;
  readonly say: Surroundings["say"];
  /** Writes what waits to be written, as far as that is possible. */
  readonly flush: () => void;
}

export function bodyOf(lockFile: Descriptor, parts: () => Parts, events: EventLog, front: Front): Body {
  const { metrics, say, startedAt, upgrades } = parts();
  return {
    pause: async () => {
      // The API first: whatever it was asked for has begun then.
      await front.pause();
      reach("upgrade.closed");
      await parts().reloading.pause();
      // Whoever comes waits for the next image; who is there already is greeted, or goes.
      parts().doors.pause();
      await Promise.all(parts().services.map((service) => service.pause()));
      await parts().moves.pause();
      await parts().keeping?.settled();
    },
    unpause: async () => {
      parts().moves.unpause();
      parts().doors.unpause();
      for (const service of parts().services) service.unpause();
      parts().reloading.unpause();
      await front.open();
    },
    save: () => {
      for (const service of parts().services) service.write("lasting");
      parts().flush();
    },
    counters: () => metrics.export(),
    state: (counters) => ({
      version: packageVersion(),
      startedAt,
      upgrades,
      counters,
      events: events.state,
      idempotency: front.idempotency,
      stored: parts().keeping?.stored ?? null,
      essence: essenceOf(parts().config),
    }),
    descriptors: () => {
      const { services, listeners, doors } = parts();
      const slots = listeners.flatMap(({ name, slots: own }) =>
        own.map((slot) => [slotName(name, slot.index), slot.fd] as const),
      );
      const held = services.flatMap(({ holders }) => holders).flatMap(({ descriptors }) => [...descriptors]);
      return new Map([
        ["lock", lockFile.fd],
        ...front.descriptors,
        ...doors.descriptors,
        ...slots,
        ...held,
      ] as const);
    },
    say,
    tally: metrics,
    lastEvent: () => events.lastId,
  };
}
