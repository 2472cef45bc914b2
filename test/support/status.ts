/** What the HTTP API says, as tests read it (docs: GET /v1/status, GET /v1/deploys/{id}). */
import type { ListenerStatus } from "./ports.ts";

export interface InstanceStatus {
  readonly id: number;
  readonly pid: number;
  readonly state: string;
  readonly restarts: number;
}

export interface GenerationStatus {
  readonly number: number;
  readonly version: string | null;
  readonly state: string;
  readonly weight: number;
  readonly connections: number | null;
  readonly startedAt: string;
  readonly draining?: {
    readonly since: string;
    readonly deadline: string;
    readonly connections: number | null;
  };
  readonly instances: readonly InstanceStatus[];
}

export interface ServiceStatus {
  readonly name: string;
  readonly state: string;
  readonly current: number | null;
  readonly candidate: number | null;
  readonly previous: number | null;
  readonly generations: readonly GenerationStatus[];
  readonly deploy: Deploy | null;
  readonly held: {
    readonly since: string;
    readonly requestedBy: string;
    readonly waiting: number;
    readonly idles: boolean;
  } | null;
}

export interface Status {
  readonly version: string;
  readonly pid: number;
  readonly startedAt: string;
  readonly upgrades: number;
  readonly listeners: readonly ListenerStatus[];
  readonly services: readonly ServiceStatus[];
}

export interface Deploy {
  readonly id: string;
  readonly service: string;
  readonly strategy: string;
  readonly from: number | null;
  readonly to: number;
  readonly version: string | null;
  readonly phase: string;
  readonly weight: number;
  readonly touched: { readonly share: number; readonly peak: number; readonly forMs: number } | null;
  readonly paused?: boolean;
  readonly pinned?: boolean;
  readonly step?: { readonly index: number; readonly of: number } | null;
  readonly requestedBy: string;
  readonly startedAt: string;
  readonly finishedAt: string | null;
  readonly reason: { readonly code: string; readonly message: string } | null;
  readonly phases: readonly {
    readonly phase: string;
    readonly startedAt: string;
    readonly finishedAt: string | null;
  }[];
}

/** The phases in which a deploy has ended. */
export const TERMINAL: readonly string[] = ["succeeded", "rolled-back", "failed", "aborted"];
