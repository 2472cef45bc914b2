/** Counts what the clients saw, and keeps each loss. */
import type { Asked } from "./ask.ts";
import type { IdleClose, LoadCount, LoadName, Loss, LossKind } from "./observations.ts";

/** Where everything is lost the first ones tell as much as all. */
const MOST_LOSSES = 10_000;

interface Count {
  requests: number;
  lost: number;
  connections: number;
  slowestMs: number;
}

export class Tally {
  readonly losses: Loss[] = [];
  readonly idleCloses: IdleClose[] = [];
  readonly #counts = new Map<string, Count & { readonly listener: string; readonly load: LoadName }>();

  get counts(): readonly LoadCount[] {
    return [...this.#counts.values()];
  }

  opened(listener: string, load: LoadName): void {
    this.#count(listener, load).connections++;
  }

  /** `lateMs`: what takes longer is late. `status`: what an answer has when all is well; null: whatever it has. */
  asked(listener: string, load: LoadName, asked: Asked, lateMs: number, status: number | null): void {
    if (asked.fate === "abandoned") return;
    const count = this.#count(listener, load);
    count.requests++;
    if (asked.fate === "answered") count.slowestMs = Math.max(count.slowestMs, asked.headMs);
    const kind = kindOf(asked, lateMs, status);
    if (kind === null) return;
    const code = kind === "status" ? String(asked.status) : asked.code;
    this.lost({ listener, load, kind, at: asked.endedAt, openedAt: asked.openedAt, code });
  }

  /** A connection without a request. */
  called(listener: string, connectMs: number): void {
    const count = this.#count(listener, "connect");
    count.requests++;
    count.connections++;
    count.slowestMs = Math.max(count.slowestMs, connectMs);
  }

  lost(loss: Loss): void {
    this.#count(loss.listener, loss.load).lost++;
    if (this.losses.length < MOST_LOSSES) this.losses.push(loss);
  }

  #count(listener: string, load: LoadName): Count {
    const key = `${listener} ${load}`;
    const count = this.#counts.get(key) ?? {
      listener,
      load,
      requests: 0,
      lost: 0,
      connections: 0,
      slowestMs: 0,
    };
    this.#counts.set(key, count);
    return count;
  }
}

function kindOf(asked: Asked, lateMs: number, status: number | null): LossKind | null {
  if (asked.fate === "abandoned") return null;
  if (asked.fate !== "answered") return asked.fate;
  if (status !== null && asked.status !== status) return "status";
  return asked.headMs > lateMs ? "late" : null;
}
