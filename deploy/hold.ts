/**
 * Hold and resume. A hold is the first half of recreate without a second: new connections wait in the queue of slots
 * that no process serves, for as long as someone wants. A resume is the second half, as a deploy of the same release:
 * it finds the slots taken, the weight given and the old generation told to end, and so only starts and proves.
 *
 *   running ──hold──▶ held ──resume──▶ a recreate deploy (from → to) ──▶ running
 *
 * The hold's record is persisted before its first act, and is there until the deploy that resumes is: a daemon that dies
 * in between takes the missing steps again. While it is there no other deploy and no scaling may begin.
 */
import { beginDeployment, type DeployRequest } from "./begin.ts";
import { type Deployment, type DeployOptions, isActive } from "./deployment.ts";
import { deployInProgress, nothingToHold, notHeld, rollingBack, serviceHeld } from "./errors.ts";
import type { Fleet, Observation } from "./fleet.ts";
import { vacate } from "./vacate.ts";

export interface Hold {
  readonly service: string;
  /** The generation that served. */
  readonly from: number;
  /** The generation whose slots hold the queue: it has no process until it is resumed. */
  readonly to: number;
  readonly version: string | null;
  readonly since: number;
  readonly requestedBy: string;
  /** The generation that served goes on running without new connections, until a resume ends it. */
  readonly idles: boolean;
}

/** What is known of the service when someone asks. */
export interface Standing {
  readonly service: string;
  /** The generation that serves and its version; null: there is none. */
  readonly current: { readonly number: number; readonly version: string | null } | null;
  readonly hold: Hold | null;
  /** The service's newest deploy. */
  readonly latest: Deployment | null;
  readonly nextNumber: number;
}

export interface HoldRequest {
  readonly requestedBy: string;
  readonly idles: boolean;
}

/**
 * The record of a hold; asked for again it is the one that stands. Throws NOTHING_TO_HOLD, DEPLOY_IN_PROGRESS, and
 * DEPLOY_ROLLING_BACK, since a way back still moves weights and instances.
 */
export function decideHold(standing: Standing, { requestedBy, idles }: HoldRequest, now: number): Hold {
  const { service, current, hold, nextNumber } = standing;
  if (hold !== null) return hold;
  assertQuiet(standing);
  if (current === null) throw nothingToHold(service);
  const { number: from, version } = current;
  return { service, from, to: nextNumber, version, since: now, requestedBy, idles };
}

/** Takes every step of the hold that can be taken now. To be called after each change, and after a recovery. */
export function advanceHold(
  fleet: Pick<Fleet, "start" | "weigh" | "retire">,
  hold: Hold,
  observe: () => Seen,
): void {
  for (;;) {
    const seen = observe();
    const step = vacate(hold.idles ? { ...seen, previous: null } : seen);
    if (step?.do === "start") fleet.start(hold, step.instances);
    else if (step?.do === "weigh") fleet.weigh(hold, step.candidate, step.pinned);
    else if (step?.do === "retire") fleet.retire(hold, step.generation);
    else return;
  }
}

/** `candidate` is the generation `to`, `previous` the generation `from`. */
type Seen = Pick<Observation, "candidate" | "previous">;

/** Whether new connections wait already; before that the old generation still gets them. */
export function isHolding({ candidate }: Seen): boolean {
  return candidate?.weight === 1;
}

/**
 * The deploy that ends a hold: to be recorded in the same write as the end of the hold's record. It does not fall back:
 * the release that it would go back to is the one that has just failed. Throws NOT_HELD.
 */
export function decideResume(
  standing: Standing,
  request: Pick<DeployRequest, "id" | "requestedBy" | "options">,
  now: number,
): Deployment {
  const { hold, latest, service } = standing;
  if (hold === null) throw notHeld(service);
  // What is found wanting now has nothing to go back to.
  const options: DeployOptions = { ...request.options, fallsBack: false, bakeMs: 0 };
  const { from, to, version } = hold;
  const deploy = {
    ...request,
    service,
    strategy: "recreate",
    from,
    to,
    version,
    isRollback: false,
    options,
  } as const;
  return beginDeployment(deploy, latest, now);
}

/** Throws SERVICE_HELD: to be asked before a deploy, a rollback, a restart or a scaling begins. */
export function assertNotHeld({ service, hold }: Pick<Standing, "service" | "hold">): void {
  if (hold !== null) throw serviceHeld(service);
}

/** Nothing moves weights or instances. */
export function assertQuiet({ latest }: Pick<Standing, "latest">): void {
  if (latest === null) return;
  if (isActive(latest)) throw deployInProgress(latest);
  if (latest.phase === "rolling-back") throw rollingBack(latest);
}
