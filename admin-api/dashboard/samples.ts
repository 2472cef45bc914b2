/** What the plots show: a short memory of the status, kept by the page itself. Pure. */
import type { Listener, Service } from "../schemas.ts";

export interface Sample {
  /** By the browser's clock, in milliseconds since the epoch. */
  readonly atMs: number;
  /** Connections that wait in the accept queues of the service's slots. */
  readonly waiting: number;
  /** Open connections by generation; null: they are not counted. */
  readonly open: Readonly<Record<number, number | null>>;
}

/** For how long something is remembered. */
export const WINDOW_MS = 5 * 60_000;
/** What a page that was just opened shows: the most of it would be empty. */
const FIRST_WINDOW_MS = 60_000;
/** Closer ones replace each other: events make the status be read more often than it is worth a point. */
const LEAST_GAP_MS = 400;

export function sampled(
  before: readonly Sample[],
  service: Service,
  listeners: readonly Listener[],
  atMs: number,
): readonly Sample[] {
  const sample: Sample = {
    atMs,
    waiting: waitingOf(service, listeners),
    open: Object.fromEntries(service.generations.map(({ number, connections }) => [number, connections])),
  };
  const last = before.at(-1);
  const kept = last !== undefined && atMs - last.atMs < LEAST_GAP_MS ? before.slice(0, -1) : before;
  return [...kept.filter((one) => atMs - one.atMs <= WINDOW_MS), sample];
}

/** The slots of a generation, or of every generation of the service. */
export function slotsOf(listeners: readonly Listener[], service: string, number?: number): Listener["slots"] {
  return listeners.flatMap(({ slots }) =>
    slots.filter(({ generation }) =>
      number === undefined
        ? generation?.slice(0, generation.lastIndexOf("/")) === service
        : generation === `${service}/${number}`,
    ),
  );
}

function waitingOf({ name, held }: Service, listeners: readonly Listener[]): number {
  // Who waits in a hold waits in a slot that no generation has.
  const queued = slotsOf(listeners, name).reduce((sum, { queue }) => sum + queue.length, 0);
  return held === null ? queued : Math.max(queued, held.waiting);
}

/** Columns as the plots take them: seconds, then one series each; null is a gap. */
export interface Columns {
  readonly seconds: readonly number[];
  readonly series: readonly { readonly key: number; readonly values: readonly (number | null)[] }[];
}

/** From when to when the plots go, in seconds: they grow with what is remembered. */
export function spanOf(seconds: readonly number[]): { readonly min: number; readonly max: number } {
  const last = seconds.at(-1) ?? 0;
  const known = last - (seconds[0] ?? last);
  return { min: last - Math.min(WINDOW_MS, Math.max(FIRST_WINDOW_MS, known * 1000)) / 1000, max: last };
}

export function openColumns(samples: readonly Sample[]): Columns {
  const numbers = [...new Set(samples.flatMap(({ open }) => Object.keys(open).map(Number)))].sort(
    (a, b) => a - b,
  );
  return {
    seconds: samples.map(({ atMs }) => atMs / 1000),
    series: numbers
      .map((key) => ({ key, values: samples.map(({ open }) => open[key] ?? null) }))
      // Not counted at all is no line at 0.
      .filter(({ values }) => values.some((value) => value !== null)),
  };
}

export function waitingColumns(samples: readonly Sample[]): Columns {
  return {
    seconds: samples.map(({ atMs }) => atMs / 1000),
    series: [{ key: 0, values: samples.map(({ waiting }) => waiting) }],
  };
}
