/** What a generation is, as data: its states, and what the snapshot needs to find it again. */
import type { Reason } from "../../deploy/deployment.ts";
import type { GenerationState } from "../../deploy/fleet.ts";
import type { TransitionTable } from "../../handoff/machine.ts";
import type { Slot } from "../../handoff/slot.ts";
import type { StoreHooks, StoreRecord } from "./application-store.ts";
import type { ServiceConfig } from "../config/config.ts";
import { vacantInstance } from "./instance.ts";
import type { GroupedInstanceRecord } from "./instances.ts";
import type { TrafficRecord } from "./traffic.ts";

export type GenerationEvent = "ready" | "admit" | "park" | "retire" | "end" | "fail";

export const GENERATION: TransitionTable<GenerationState, GenerationEvent> = {
  starting: { ready: "standby", retire: "draining" },
  standby: { admit: "serving", retire: "draining" },
  serving: { park: "standby", retire: "draining" },
  draining: { end: "stopped", fail: "failed" },
  stopped: {},
  failed: {},
};

export interface Ending {
  /** Its slots have weight, and their queues are for whoever takes them over: their end does not wait for them. */
  readonly leavesQueue: boolean;
  /** No other generation may run until this one has ended: what is left on its slots it takes itself. */
  readonly isAlone: boolean;
}

export interface GenerationRecord {
  readonly number: number;
  readonly version: string | null;
  readonly state: GenerationState;
  readonly since: number;
  readonly startedAt: number;
  readonly weight: number;
  readonly pinned: boolean;
  /** null: it is not being ended. */
  readonly ending: Ending | null;
  readonly exits: number;
  readonly failure: Reason | null;
  readonly wasReady: boolean;
  /** When its instances were told to end, written down before they are. The drain's time counts from here. */
  readonly signalledAt: number | null;
  /** That they were. They are told twice only where the daemon has died between the two. */
  readonly isSignalled: boolean;
  /** Whether it ever had weight: then what waits in its slots are users. */
  readonly hadUsers: boolean;
  /** The slot's index on each listener. */
  readonly slots: Readonly<Record<string, number>>;
  /** SO_COOKIE of each of them, in decimal digits. */
  readonly cookies: Readonly<Record<string, string>>;
  readonly marks: readonly number[];
  readonly instances: readonly GroupedInstanceRecord[];
  /** undefined in what an earlier version wrote, as the next. */
  readonly traffic?: TrafficRecord;
  readonly store?: StoreRecord;
  /** As it was when the generation was started: restarts run what was deployed, whatever the file says by now. */
  readonly config: ServiceConfig;
}

export interface GenerationHooks extends Pick<StoreHooks, "storeOf"> {
  /** Something that `view` or the snapshot shows has changed. */
  readonly onChange: () => void;
  /** Whether no other generation serves. */
  readonly isAlone: (number: number) => boolean;
  /** No process of it is left, and its slots are about to be given back. */
  readonly onGivingBack: (slots: readonly Slot[]) => Promise<void>;
  /** The generation has ended and given its slots back. */
  readonly onEnded: () => void;
}

/** One that has not begun. `before`: the generation whose place it is to take; null: there is none. */
export function newGeneration(
  config: ServiceConfig,
  number: number,
  version: string | null,
  instances: number,
  before: number | null,
  now: number,
): GenerationRecord {
  return {
    number,
    version,
    state: "starting",
    since: now,
    startedAt: now,
    weight: 0,
    pinned: false,
    ending: null,
    exits: 0,
    failure: null,
    wasReady: false,
    signalledAt: null,
    isSignalled: false,
    hadUsers: false,
    slots: {},
    cookies: {},
    marks: [],
    instances: Array.from({ length: instances }, (_, index) => vacantInstance(index + 1, now)),
    store: { heirOf: before, all: [] },
    config,
  };
}

/** What each of its processes has in its environment. */
export function variablesOf({
  config,
  number,
  version,
}: Pick<GenerationRecord, "config" | "number" | "version">): Record<string, string> {
  return {
    HANDOFF_SERVICE: config.name,
    HANDOFF_GENERATION: String(number),
    HANDOFF_VERSION: version ?? "",
    // As systemd says it (systemd.exec(5)).
    ...(config.fdstore.max > 0 && { FDSTORE: String(config.fdstore.max) }),
  };
}

/** What changes while it lives. */
export type GenerationFacts = {
  -readonly [
    Fact in
      | "weight"
      | "pinned"
      | "ending"
      | "exits"
      | "failure"
      | "wasReady"
      | "signalledAt"
      | "isSignalled"
      | "hadUsers"
  ]: GenerationRecord[Fact];
};

export function factsOf({
  weight,
  pinned,
  ending,
  exits,
  failure,
  wasReady,
  signalledAt,
  isSignalled,
  hadUsers,
}: GenerationRecord): GenerationFacts {
  return { weight, pinned, ending, exits, failure, wasReady, signalledAt, isSignalled, hadUsers };
}
