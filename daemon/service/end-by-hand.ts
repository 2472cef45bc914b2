/** Ending a draining generation by hand: who may be ended so, and what to do instead about the others. */
import { generationUnknown } from "../../admin-api/errors.ts";
import { generationInUse } from "../errors.ts";
import type { Generation } from "../generation/generation.ts";

/** What it needs of a service. */
interface Owner {
  readonly name: string;
  readonly current: number | null;
  readonly candidate: number | null;
  readonly generations: readonly Generation[];
  /** Throws when the state cannot be written. */
  write(): void;
}

/**
 * The generation's drain is over: what is left of it is killed. Written down before, so that a daemon which dies in between goes on
 * with it. Throws GENERATION_UNKNOWN for one that is not there or has ended, GENERATION_IN_USE for one that does not drain; then
 * nothing has changed.
 */
export function endByHand(owner: Owner, number: number, by: string, now: number): Generation {
  const living = owner.generations.filter(({ isOver }) => !isOver);
  const generation = living.find((each) => each.number === number);
  if (generation === undefined) {
    throw generationUnknown(
      owner.name,
      number,
      living.map((each) => each.number),
    );
  }
  if (generation.state !== "draining") throw generationInUse(owner.name, number, roleOf(owner, number));
  generation.traffic.endNow(by, now, () => owner.write());
  return generation;
}

function roleOf({ current, candidate }: Owner, number: number): "current" | "candidate" | "previous" {
  if (number === current) return "current";
  return number === candidate ? "candidate" : "previous";
}
