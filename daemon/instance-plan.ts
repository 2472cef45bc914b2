/** What the instances of one generation are told to run, or who starts them instead. */
import { dirname, join } from "node:path";
import type { ApplicationStore } from "./application-store.ts";
import { accountOf, specificationFor } from "./account.ts";
import { awaitArrival, externalSpecification, type Member } from "./external.ts";
import { variablesOf } from "./generation-record.ts";
import type { ExternalPlan, InstancePlan } from "./instance.ts";
import type { Surroundings } from "./surroundings.ts";
import type { Placement } from "./verification.ts";

export interface Planned extends Member {
  readonly placements: readonly Placement[];
  readonly store: ApplicationStore;
  /** Before it was, somebody waits for it, and not for ever. */
  readonly wasReady: boolean;
}

/** `signal`: of the work that is begun now. */
export function planOf(member: Planned, signal: () => AbortSignal, surroundings: Surroundings): InstancePlan {
  const { config, number, version } = member;
  const variables = { ...variablesOf(member), ...drainVariablesOf(member) };
  return {
    generation: `${config.name}/${number}`,
    specification: (extra) =>
      specificationFor(config, version, config.command, { ...variables, ...extra }, true),
    identity: () => accountOf(config).identity,
    offers: async () => {
      await member.store.begin();
      const slots = member.placements.map(({ listener, slot }) => ({ name: listener.name, fd: slot.fd }));
      return [...slots, ...member.store.offers];
    },
    output: config.output,
    notifyFolder: join(surroundings.runtime, "notify"),
    external: config.external === null ? null : externalPlanOf(member, signal, surroundings),
  };
}

function externalPlanOf(
  member: Planned,
  signal: () => AbortSignal,
  surroundings: Surroundings,
): ExternalPlan {
  return {
    arrival: (instance, cancelled) => {
      const either = AbortSignal.any([signal(), cancelled]);
      return awaitArrival(member, instance, { isDue: !member.wasReady, signal: either, surroundings });
    },
    signal,
    specification: (extra) =>
      externalSpecification(member, { ...variablesOf(member), ...drainVariablesOf(member), ...extra }),
    // Beside the handoff socket: whoever has the one folder, as a container may, has both.
    notifyFolder: join(dirname(surroundings.doors.pathOf(member.config)), "notify"),
  };
}

/** How it will be told to end, and how long it has then. */
function drainVariablesOf({ config: { drain } }: Member): Record<string, string> {
  return { HANDOFF_DRAIN_SIGNAL: drain.signal, HANDOFF_DRAIN_TIMEOUT_MS: String(drain.timeoutMs) };
}
