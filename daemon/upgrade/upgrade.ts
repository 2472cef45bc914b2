/**
 * The daemon is replaced while it runs: the program that it was started with, as it is by now, is executed in its place. The pid,
 * the children and the descriptors stay, and the new image goes on through the same door as after a death.
 *
 *   try       a child of the new program reads the configuration and the state, opens nothing, and says its version
 *   close     the API answers what it was asked; from here on clients wait in the queue of its socket
 *   pause     nothing is begun any more; what no record tells of (a proof, a launch) ends
 *   write     the records, on the disk; the rest and the descriptors' numbers into a memfd
 *   exec      nothing of this image is left
 *
 * Whatever fails before the last line, or in it, leaves everything as it was. A signal whose default is to end a process (SIGTERM,
 * SIGHUP) and that arrives between the exec and the new image's first line ends the daemon: Node resets mask and dispositions
 * at its start. Then it is as after any death: the keeper has everything, and the next start goes on.
 */
import type { Upgrade as UpgradeBody } from "../../admin-api/schemas.ts";
import { CodedError, messageOf } from "../../handoff/coded-error.ts";
import type { Descriptor } from "../../handoff/descriptor.ts";
import { native } from "../../handoff/native.ts";
import { packageVersion } from "../../handoff/version.ts";
import { pause } from "../generation/ending.ts";
import { upgradeFailed, upgradeInProgress } from "../errors.ts";
import { reach } from "../fault.ts";
import type { Tally } from "../metrics.ts";
import type { Program, StartedProgram } from "./program.ts";
import type { Surroundings } from "../surroundings.ts";
import { encodeState, memoryOf, UPGRADE_VARIABLE, type UpgradeState } from "./upgrade-state.ts";
import { tryProgram } from "./upgrade-trial.ts";

/** A launch that hangs has given up by then. */
const PAUSE_MS = 15_000;

/** The daemon, as far as it has to hold its breath. */
export interface Body {
  /** Nothing new from outside, and nothing unwritten inside. */
  readonly pause: () => Promise<void>;
  /** As before `pause`, also after one that has failed half-way. */
  readonly unpause: () => Promise<void>;
  /** Writes the records. Throws when it cannot. */
  readonly save: () => void;
  /** What the counters stand at. */
  readonly counters: () => Promise<unknown>;
  readonly state: (counters: unknown) => UpgradeState;
  /** Everything that goes on, by name. The descriptors stay their owners'. */
  readonly descriptors: () => ReadonlyMap<string, number>;
  readonly say: Surroundings["say"];
  readonly tally: Pick<Tally, "upgraded">;
  /** The id of the newest event. */
  readonly lastEvent: () => number;
}

export class Upgrade {
  readonly #program: StartedProgram;
  readonly #body: () => Body;
  #isUnderWay = false;
  #isCancelled = false;
  /** Settled when nothing is under way. */
  #last: Promise<void> = Promise.resolve();

  constructor(program: StartedProgram, body: () => Body) {
    this.#program = program;
    this.#body = body;
  }

  /** Resolves when the new program was tried and is about to be executed. Throws UPGRADE_REFUSED or UPGRADE_IN_PROGRESS. */
  async begin(requestedBy: string): Promise<UpgradeBody> {
    if (this.#isUnderWay) throw upgradeInProgress();
    this.#isUnderWay = true;
    const body = this.#body();
    const since = body.lastEvent();
    let to: string;
    try {
      const text = encodeState(body.state(await body.counters()), new Map());
      to = await tryProgram(this.#program.resolve(["--try-upgrade"]), text);
    } catch (error) {
      this.#isUnderWay = false;
      body.tally.upgraded("refused");
      body.say({ type: "daemon.upgrade-refused", message: messageOf(error), ...codeOf(error) }, "error");
      throw error;
    }
    reach("upgrade.tried");
    const from = packageVersion();
    body.say({
      type: "daemon.upgrading",
      message: `handoffd ${from} is being replaced by ${to}, as ${requestedBy} has asked`,
    });
    // After the answer has gone out: closing the API waits for that.
    this.#last = new Promise((resolve) => setImmediate(() => void this.#replace(body).then(resolve)));
    return { from, to, since };
  }

  /** Nothing is replaced any more. Returns when the daemon is whole. */
  async cancel(): Promise<void> {
    this.#isCancelled = true;
    await this.#last;
  }

  async #replace(body: Body): Promise<void> {
    try {
      await within(body.pause(), PAUSE_MS);
      const counters = await body.counters();
      // The loop's last turn: a signal that came until now is seen, and nothing changes after it.
      await new Promise((resolve) => setImmediate(resolve));
      if (this.#isCancelled) throw upgradeFailed("it is being stopped");
      reach("upgrade.paused");
      body.save();
      reach("upgrade.saved");
      execute(this.#program.resolve(), body.state(counters), body.descriptors());
    } catch (error) {
      const failure =
        error instanceof CodedError && error.code === "UPGRADE_FAILED"
          ? error
          : upgradeFailed(messageOf(error), error);
      body.tally.upgraded("failed");
      body.say({ type: "daemon.upgrade-failed", message: failure.message, code: failure.code }, "error");
      await body.unpause();
    } finally {
      this.#isUnderWay = false;
    }
  }
}

/** Does not return unless it throws. */
function execute(program: Program, state: UpgradeState, descriptors: ReadonlyMap<string, number>): never {
  using memory: Descriptor = memoryOf(encodeState(state, descriptors));
  const environment = { ...process.env, [UPGRADE_VARIABLE]: String(memory.fd) };
  native.replaceProgram(
    program.file,
    program.argv,
    Object.entries(environment).map(([name, value]) => `${name}=${value}`),
    [...descriptors.values(), memory.fd],
  );
  throw new Error("execve(2) has returned");
}

async function within(work: Promise<void>, ms: number): Promise<void> {
  const late = new AbortController();
  const timer = pause(ms, late.signal).then(() => {
    if (!late.signal.aborted) throw upgradeFailed(`something that was begun did not end within ${ms} ms`);
  });
  try {
    await Promise.race([work, timer]);
  } finally {
    late.abort();
  }
}

function codeOf(error: unknown): { readonly code?: string } {
  return error instanceof CodedError ? { code: error.code } : {};
}
