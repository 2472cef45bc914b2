/** Long polling, for scripts that cannot read a stream: an answer that comes when there is something new. */
import type { ServerResponse } from "node:http";

import { requestInvalid } from "./errors.ts";
import type { Operations } from "./operations.ts";
import type { Deploy } from "./schemas.ts";

/** The longest wait: shorter than what proxies take for a dead connection. */
const LONGEST_MS = 60_000;
const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000 };

export interface WaitContext {
  readonly operations: Operations;
  /** Aborted when the server closes: whoever waits answers with what there is. */
  readonly closing: AbortSignal;
}

/**
 * The deploy's record: at once without `wait` or when it has ended, else after its next change or when the time is
 * over, as it is then. Throws DEPLOY_UNKNOWN, and REQUEST_INVALID for a wait that is too long.
 */
export async function changeOf(
  { operations, closing }: WaitContext,
  id: string,
  wait: string | undefined,
  response: ServerResponse,
): Promise<Deploy> {
  const waitMs = wait === undefined ? 0 : durationOf(wait);
  const before = await operations.getDeploy(id);
  if (waitMs === 0 || before.finishedAt !== null) return before;
  const shown = JSON.stringify(before);
  const deadline = performance.now() + waitMs;
  for (;;) {
    const again = await anEvent(
      { operations, closing },
      id,
      deadline - performance.now(),
      response,
      async () => {
        // It may have changed while it was being read.
        return JSON.stringify(await operations.getDeploy(id)) !== shown;
      },
    );
    const now = await operations.getDeploy(id);
    if (!again || JSON.stringify(now) !== shown) return now;
  }
}

/** true when an event about the deploy came; false when nobody needs to wait any more. */
async function anEvent(
  { operations, closing }: WaitContext,
  id: string,
  withinMs: number,
  response: ServerResponse,
  isThere: () => Promise<boolean>,
): Promise<boolean> {
  if (withinMs <= 0 || closing.aborted || response.destroyed) return false;
  return new Promise((resolve) => {
    const settle = (again: boolean): void => {
      clearTimeout(timer);
      leave();
      closing.removeEventListener("abort", over);
      response.off("close", over);
      resolve(again);
    };
    const over = (): void => settle(false);
    const timer = setTimeout(over, withinMs);
    const leave = operations.events.subscribe((event) => {
      if (event.deploy === id) settle(true);
    });
    closing.addEventListener("abort", over);
    response.once("close", over);
    isThere().then(
      (changed) => {
        if (changed) settle(true);
      },
      // It is read again, and then whoever asks gets the error.
      () => settle(true),
    );
  });
}

function durationOf(text: string): number {
  const parts = [...text.matchAll(/(\d+(?:\.\d+)?)(ms|s|m|h)/gu)];
  const ms = parts.reduce((sum, [, count, unit = "ms"]) => sum + Number(count) * (UNITS[unit] ?? 0), 0);
  if (ms > LONGEST_MS) throw requestInvalid('"wait" of the query must be at most 60s.', { place: "wait" });
  return ms;
}
