/**
 * Fault points: the places at which a test ends the daemon with SIGKILL, to see that nobody notices. They are enumerated by the code: an act
 * of a deploy, a phase or a step that has none does not compile.
 *
 * Only where HANDOFFD_FAULT_POINTS names a file. While that has a line "POINT N", the N-th pass of POINT is the daemon's last one, and
 * the file is removed right before. Every pass is noted in FILE.reached.
 */
import { appendFileSync, readFileSync, rmSync } from "node:fs";
import { PHASES, type Phase } from "../deploy/deployment.ts";
import type { Fleet, Step } from "../deploy/fleet.ts";
import type { advanceHold } from "../deploy/hold.ts";
import type { Keeper } from "../handoff/keeper.ts";

/** What a deploy does to the world: between its record and the act, and after the act. */
type Act = Exclude<keyof Fleet, "observe" | "record" | "wake">;
const ACTS = {
  start: true,
  fallBack: true,
  verify: true,
  analyse: true,
  weigh: true,
  resize: true,
  retire: true,
} satisfies Record<Act, true>;

/** Of them, what a hold does: it has no record but the service's own, written before the first. */
type ActOfHold = keyof Parameters<typeof advanceHold>[0];
const ACTS_OF_HOLD = { start: true, weigh: true, retire: true } satisfies Record<ActOfHold, true>;

/** Names of what a keeper holds begin so. */
const KEPT = ["slot", "notify", "channel", "store"] as const;

const OTHERS = [
  // The launcher waits for its grant; it has it.
  "launch.spawned",
  "launch.granted",
  // Nothing is told yet; recorded and not sent; sent and not recorded; both; all have ended; the slots are free again.
  "drain.settled",
  "drain.recorded",
  "drain.signalled",
  "drain.confirmed",
  "drain.ended",
  "drain.given-back",
  // One of several was told, which is not recorded.
  "leave.signalled",
  // The two who are to have a way have nothing yet; the one who takes has its end; the one who gives has it too, and is told next.
  "route.made",
  "route.taken",
  "route.given",
  "keeper.remove.before",
  "keeper.remove.after",
  "snapshot.lasting.written",
  "snapshot.lasting.renamed",
  "snapshot.live.written",
  "snapshot.live.unlinked",
  "snapshot.live.renamed",
  // What is new is open; that is written down; all of it holds. Then what was removed has ended, and is closed.
  "reload.opened",
  "reload.written",
  "reload.committed",
  "reload.ended",
  "reload.closed",
  "recovery.listed",
  "recovery.read",
  "recovery.listeners",
  "recovery.resumed",
  "recovery.proved",
  "recovery.done",
  "upgrade.tried",
  "upgrade.closed",
  "upgrade.paused",
  "upgrade.saved",
  "upgrade.entered",
  "upgrade.opened",
] as const;

export type FaultPoint =
  | `deploy.record.${Phase}.${"before" | "after"}`
  | `deploy.${Act}.${"before" | "after"}`
  | `hold.${ActOfHold}.${"before" | "after"}`
  | `keeper.put.${(typeof KEPT)[number]}.${"before" | "after"}`
  | (typeof OTHERS)[number];

/** By what the strategy decides; for the test that each step has its points. */
export const POINTS_OF_STEP: Readonly<Record<Step["do"], readonly FaultPoint[]>> = {
  // Each is recorded in whatever phase it comes in; named is the one in which it comes first.
  start: ["deploy.record.starting.before", "deploy.start.before", "deploy.start.after"],
  fallBack: ["deploy.record.rolling-back.before", "deploy.fallBack.before", "deploy.fallBack.after"],
  verify: ["deploy.record.verifying.before", "deploy.verify.before", "deploy.verify.after"],
  analyse: ["deploy.record.shifting.before", "deploy.analyse.before", "deploy.analyse.after"],
  reach: ["deploy.record.shifting.before", "deploy.record.shifting.after"],
  weigh: ["deploy.record.shifting.before", "deploy.weigh.before", "deploy.weigh.after"],
  resize: ["deploy.record.shifting.before", "deploy.resize.before", "deploy.resize.after"],
  retire: ["deploy.record.draining.before", "deploy.retire.before", "deploy.retire.after"],
  enter: ["deploy.record.baking.before", "deploy.record.baking.after"],
  wait: [],
};

/** All there are. */
export const FAULT_POINTS: readonly FaultPoint[] = [
  ...(Object.keys(PHASES) as Phase[]).flatMap((phase) => around(`deploy.record.${phase}`)),
  ...(Object.keys(ACTS) as Act[]).flatMap((act) => around(`deploy.${act}`)),
  ...(Object.keys(ACTS_OF_HOLD) as ActOfHold[]).flatMap((act) => around(`hold.${act}`)),
  ...KEPT.flatMap((kind) => around(`keeper.put.${kind}`)),
  ...OTHERS,
];

function around<N extends string>(name: N): [`${N}.before`, `${N}.after`] {
  return [`${name}.before`, `${name}.after`];
}

const file = process.env["HANDOFFD_FAULT_POINTS"] ?? null;
const passes = new Map<string, number>();

/** The daemon may end here. Costs a comparison where no test has asked for more. */
export function reach(point: FaultPoint): void {
  if (file !== null) pass(file, point);
}

function pass(armed: string, point: FaultPoint): void {
  appendFileSync(`${armed}.reached`, `${point}\n`);
  let line: string;
  try {
    line = readFileSync(armed, "utf8").trim();
  } catch {
    return; // Nothing is wanted now.
  }
  const [wanted, number = "1"] = line.split(" ");
  if (wanted !== point) return;
  const seen = (passes.get(line) ?? 0) + 1;
  passes.set(line, seen);
  if (seen < Number(number)) return;
  rmSync(armed);
  process.kill(process.pid, "SIGKILL");
}

/** The world of a deploy, or of a hold, with points around all that is done to it. */
export function withFaultPoints<F extends Fleet>(fleet: F, whose: "deploy" | "hold" = "deploy"): F {
  if (file === null) return fleet;
  return new Proxy(fleet, {
    get(target, key) {
      const value: unknown = Reflect.get(target, key, target);
      if (typeof value !== "function" || typeof key !== "string") return value;
      return (...given: [{ readonly phase: Phase }]): unknown => {
        const name = key === "record" ? (`deploy.record.${given[0].phase}` as const) : `${whose}.${key}`;
        if (key === "record" || key in ACTS) reach(`${name}.before` as FaultPoint);
        const result: unknown = Reflect.apply(value, target, given);
        if (key === "record" || key in ACTS) reach(`${name}.after` as FaultPoint);
        return result;
      };
    },
  });
}

/** A keeper with points around what it is given and what is taken from it. */
export function keeperWithFaultPoints(keeper: Keeper): Keeper {
  if (file === null) return keeper;
  return {
    put: async (name, fd) => {
      const kind = KEPT.find((each) => name.startsWith(`${each}/`));
      if (kind !== undefined) reach(`keeper.put.${kind}.before`);
      await keeper.put(name, fd);
      if (kind !== undefined) reach(`keeper.put.${kind}.after`);
    },
    remove: async (names) => {
      reach("keeper.remove.before");
      await keeper.remove(names);
      reach("keeper.remove.after");
    },
    list: () => keeper.list(),
    release: () => keeper.release(),
    close: () => keeper.close(),
  };
}
