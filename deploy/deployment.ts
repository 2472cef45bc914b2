/**
 * The record of one deploy. Plain data: it is written to the snapshot as it is, and a daemon that died goes on from it.
 *
 *   starting → verifying → shifting → baking → draining → succeeded
 *       │          │           │         │
 *       ▼          ▼           └────┬────┘
 *     failed / aborted         rolling-back → rolled-back / aborted
 *
 * Until `shifting` the candidate has had no user: a failure there is `failed`, and nothing has changed. From
 * `shifting` on it may have had some, so going back is `rolling-back`. From `draining` on there is no way back
 * but another deploy.
 */

export type Phase =
  | "starting"
  | "verifying"
  | "shifting"
  | "baking"
  | "draining"
  | "succeeded"
  | "rolling-back"
  | "rolled-back"
  | "failed"
  | "aborted";

export type StrategyName = "blue-green" | "canary" | "rolling" | "recreate";

/** Why something ended as it did: a stable code and a sentence for people. */
export interface Reason {
  readonly code: string;
  readonly message: string;
}

/** What someone asked of a deploy that is under way. The later wish replaces the earlier one. */
export type Wish = "promote" | "abort" | "rollback";

/** What the strategy needs of the configuration, fixed when the deploy was accepted. */
export interface DeployOptions {
  /** From the start of the deploy until every instance of the candidate must be ready. */
  readonly readyTimeoutMs: number;
  /** How long verification as a whole may take. */
  readonly verifyTimeoutMs: number;
  /** How long the previous generation stays warm after 100 %. */
  readonly bakeMs: number;
  /** Unexpected exits of the candidate's instances, once it has weight, that mean going back. 0: do not watch. */
  readonly watchExits: number;
}

export interface PhaseRecord {
  readonly phase: Phase;
  /** Milliseconds since the epoch, as everywhere in the record. */
  readonly startedAt: number;
  readonly finishedAt: number | null;
}

export interface Deployment {
  readonly id: string;
  readonly service: string;
  readonly strategy: StrategyName;
  /** The generation that was current when the deploy began; null on a service's first start. */
  readonly from: number | null;
  /** The generation that it starts: the candidate. */
  readonly to: number;
  readonly version: string | null;
  readonly requestedBy: string;
  readonly startedAt: number;
  readonly finishedAt: number | null;
  readonly phase: Phase;
  readonly phases: readonly PhaseRecord[];
  /** The candidate's share of new connections, 0..1, as last asked for. */
  readonly weight: number;
  readonly paused: boolean;
  readonly wish: Wish | null;
  readonly reason: Reason | null;
  readonly options: DeployOptions;
}
