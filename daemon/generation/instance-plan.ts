/** What the instances of one generation are told to run, or who starts them instead. */
import { dirname, join } from "node:path";
import type { Offer } from "../../handoff/grant.ts";
import type { LaunchSpecification } from "../../handoff/launch.ts";
import type { ApplicationStore } from "./application-store.ts";
import { accountOf, specificationFor } from "./account.ts";
import type { OutputConfig } from "../config/config.ts";
import type { Arrival } from "../external/door.ts";
import { awaitArrival, externalSpecification, type Member } from "../external/external.ts";
import { variablesOf } from "./generation-record.ts";
import type { Surroundings } from "../surroundings.ts";
import type { Placement } from "../proof/verification.ts";

/** What an instance is told to run; the same for all of a generation. */
export interface InstancePlan {
  /** "api/3", for names and messages. */
  readonly generation: string;
  readonly specification: (extra: Readonly<Record<string, string>>) => LaunchSpecification;
  /** Who the process is; null: the daemon's own user. */
  readonly identity: () => LaunchSpecification["identity"];
  readonly offers: () => Promise<readonly Offer[]>;
  /** Whether what is started now leaves the processors to others who serve meanwhile. */
  readonly yields: () => boolean;
  /** The inodes of the slots among them. */
  readonly slots: () => readonly number[];
  readonly output: OutputConfig;
  /** Absolute: where the notify sockets are. */
  readonly notifyFolder: string;
  /** null: the daemon starts it. */
  readonly external: ExternalPlan | null;
}

/** Of an instance that someone else starts. */
export interface ExternalPlan {
  /** The process that has come for it. Throws a CodedError when none has, and the reason when the signal or `cancelled` is aborted. */
  readonly arrival: (instance: number, cancelled: AbortSignal) => Promise<Arrival>;
  /** While it is aborted nobody is awaited. */
  readonly signal: () => AbortSignal;
  readonly specification: (extra: Readonly<Record<string, string>>) => LaunchSpecification;
  readonly notifyFolder: string;
}

export interface Planned extends Member {
  readonly placements: readonly Placement[];
  readonly store: ApplicationStore;
  /** Before it was, somebody waits for it, and not for ever. */
  readonly wasReady: boolean;
  readonly weight: number;
}

/** `signal`: of the work that is begun now; `isAlone`: whether nobody of the service serves beside it. */
export function planOf(
  member: Planned,
  signal: () => AbortSignal,
  isAlone: () => boolean,
  surroundings: Surroundings,
): InstancePlan {
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
    yields: () => config.external === null && !member.wasReady && member.weight === 0 && !isAlone(),
    slots: () => member.placements.map(({ slot }) => slot.inode),
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
