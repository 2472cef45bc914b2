/** A service as the page shows it: its generations as lanes, and the deploy that moves traffic between them. Pure. */
import type { Deploy, Generation, Listener, Phase, Service } from "../schemas.ts";
import { slotsOf } from "./samples.ts";
import { age, countdown, counted } from "./words.ts";

export type Role = "current" | "candidate" | "previous" | "draining" | "other";

/** Blue and green take turns, so that the two that share traffic always differ; what drains is neither. */
export type Hue = "blue" | "green" | "grey";

export interface Lane {
  readonly number: number;
  readonly role: Role;
  readonly hue: Hue;
  readonly version: string | null;
  readonly state: Generation["state"];
  readonly weight: number;
  readonly connections: number | null;
  readonly queue: { readonly length: number; readonly limit: number };
  /** `2 of 2 ready`. */
  readonly instances: string;
  readonly restarts: number;
  /** `up 3 min`, or until when it drains. */
  readonly remark: string;
}

export function hueOf(number: number, state: Generation["state"]): Hue {
  if (state === "draining" || state === "stopped" || state === "failed") return "grey";
  return number % 2 === 0 ? "blue" : "green";
}

/** The generation that users reach first, those that drain last. */
export function lanesOf(service: Service, listeners: readonly Listener[], serverMs: number): readonly Lane[] {
  const lanes = service.generations.map((generation): Lane => {
    const { number, version, state, weight, connections, instances } = generation;
    const slots = slotsOf(listeners, service.name, number);
    const ready = instances.filter((one) => one.state === "serving" || one.state === "standby").length;
    return {
      number,
      role: roleOf(service, generation),
      hue: hueOf(number, state),
      version,
      state,
      weight,
      connections,
      queue: {
        length: slots.reduce((sum, { queue }) => sum + queue.length, 0),
        limit: slots.reduce((sum, { queue }) => sum + queue.limit, 0),
      },
      instances:
        state === "draining"
          ? counted(instances.length, "process").replace(/ss$/u, "sses")
          : `${ready} of ${instances.length} ready`,
      restarts: instances.reduce((sum, { restarts }) => sum + restarts, 0),
      remark: remarkOf(generation, serverMs),
    };
  });
  const rank: Readonly<Record<Role, number>> = {
    current: 0,
    candidate: 1,
    previous: 2,
    draining: 3,
    other: 4,
  };
  return [...lanes].sort((a, b) => rank[a.role] - rank[b.role] || b.number - a.number);
}

function roleOf({ current, candidate, previous }: Service, { number, state }: Generation): Role {
  if (number === current) return "current";
  if (number === candidate) return "candidate";
  if (number === previous) return "previous";
  return state === "draining" ? "draining" : "other";
}

function remarkOf({ draining, startedAt }: Generation, serverMs: number): string {
  if (draining === undefined) return `up ${age(serverMs - Date.parse(startedAt))}`;
  return `ends within ${countdown(Date.parse(draining.deadline) - serverMs)}`;
}

/** The deploy to show with a service: the one under way, one that still drains, or the last that has ended. */
export function deployOf(service: Service, deploys: readonly Deploy[]): Deploy | null {
  return service.deploy ?? deploys.find((deploy) => deploy.service === service.name) ?? null;
}

export type Progress = "done" | "now" | "next" | "failed";

export interface PhaseView {
  readonly phase: Phase;
  readonly progress: Progress;
  /** How long it took or has taken; null: it has not begun. */
  readonly ms: number | null;
}

const WAY: readonly Phase[] = ["starting", "verifying", "shifting", "baking", "draining", "succeeded"];
const ENDS: readonly Phase[] = ["succeeded", "rolled-back", "failed", "aborted"];

/** The phases that it went through, the one that lasts, and those that are still to come if all goes well. */
export function phasesOf(deploy: Deploy, serverMs: number): readonly PhaseView[] {
  const recorded = deploy.phases.map(({ phase, startedAt, finishedAt }): PhaseView => {
    const isEnd = ENDS.includes(phase);
    const isBad = isEnd && phase !== "succeeded";
    const ms = isEnd
      ? null
      : Date.parse(finishedAt ?? new Date(serverMs).toISOString()) - Date.parse(startedAt);
    return { phase, progress: isBad ? "failed" : isEnd || finishedAt !== null ? "done" : "now", ms };
  });
  if (deploy.finishedAt !== null) return recorded;
  const left =
    deploy.phase === "rolling-back" ? (["rolled-back"] as const) : WAY.slice(WAY.indexOf(deploy.phase) + 1);
  return [...recorded, ...left.map((phase): PhaseView => ({ phase, progress: "next", ms: null }))];
}

export interface Remaining {
  readonly ms: number;
  /** How much of the time is over, 0..1. */
  readonly fraction: number;
  /** What happens then. */
  readonly then: string;
}

/** How long until the deploy goes on by itself; null: time alone changes nothing. */
export function remainingOf(
  { until, phase, phases, step, startedAt }: Deploy,
  serverMs: number,
): Remaining | null {
  if (until === undefined) return null;
  const due = Date.parse(until);
  const began = phases.at(-1)?.startedAt ?? startedAt;
  const since = Date.parse(phase === "shifting" ? (step?.since ?? began) : began);
  const fraction = due > since ? Math.min(1, Math.max(0, (serverMs - since) / (due - since))) : 1;
  return { ms: Math.max(0, due - serverMs), fraction, then: thenOf(phase, step) };
}

function thenOf(phase: Phase, step: Deploy["step"]): string {
  if (phase === "starting") return "until it is given up: it has to be ready by then";
  if (phase === "verifying") return "until it is given up: it has to be verified by then";
  if (phase === "baking") return "of the bake left";
  return step !== null && step.index + 1 < step.of ? "until the next step" : "until everyone is moved";
}
