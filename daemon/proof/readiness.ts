/** When a generation is ready: by what its instances say (notify), or by what its slot does (listening, http, delay). */
import type { Listener } from "../../handoff/listener.ts";
import type { Slot } from "../../handoff/slot.ts";
import { type Candidate, proveAccepting } from "./acceptance.ts";
import type { ReadyConfig } from "../config/config.ts";
import { pause } from "../generation/ending.ts";
import { probeHttp } from "./probe.ts";
import type { Placement } from "./verification.ts";

const HTTP_RETRY_MS = 50;
const HTTP_ANSWER_MS = 5_000;

/**
 * Returns when the slot proves the generation ready. `notify` is not asked here: each instance says so itself. Throws only
 * the signal's reason, or GENERATION_NOT_ACCEPTING at the deadline (performance.now(), milliseconds).
 */
export async function awaitReady(
  ready: Exclude<ReadyConfig, { by: "notify" }>,
  placements: readonly Placement[],
  candidate: Candidate,
  deadline: () => number,
  signal: AbortSignal,
): Promise<void> {
  switch (ready.by) {
    case "delay":
      await pause(ready.afterMs, signal);
      signal.throwIfAborted();
      return;
    case "listening": {
      const { listener, slot } = placed(placements, ready.listener);
      return proveAccepting(listener, slot, candidate, deadline, signal);
    }
    case "http": {
      const { listener, slot } = placed(placements, ready.listener);
      await proveAccepting(listener, slot, candidate, deadline, signal);
      return answers(listener, slot, ready, signal);
    }
  }
}

/** Asks until the answer is as expected; whoever called has the deadline, and ends this by the signal. */
async function answers(
  listener: Listener,
  slot: Slot,
  ready: Extract<ReadyConfig, { by: "http" }>,
  signal: AbortSignal,
): Promise<void> {
  using _pins = listener.honourPins();
  for (;;) {
    try {
      const status = await probeHttp(listener.probe(slot), ready.path, HTTP_ANSWER_MS, signal);
      if (status === ready.expect) return;
    } catch {
      // Not ready is what this waits through: refused, closed, late. The deadline tells in words what was missing.
    }
    signal.throwIfAborted();
    await pause(HTTP_RETRY_MS, signal);
  }
}

function placed(placements: readonly Placement[], name: string): Placement {
  const placement = placements.find(({ listener }) => listener.name === name);
  if (placement === undefined) throw new Error(`no slot on listener ${name}`);
  return placement;
}
