/**
 * Where the connections of an instance go when it ends: to each of those who go on in its place, as far as they can take what it has.
 * Pure; moves.ts of the daemon acts on it.
 *
 *   its generation ends   the instances of the current generation
 *   it alone ends         its siblings, since a share of new connections says nothing of those that are there already
 */

/** An instance, as far as moving connections is concerned. */
export interface Party {
  readonly generation: number;
  readonly instance: number;
  /** It serves, or could, and nobody has told it to end. */
  readonly isReady: boolean;
  /** What it can take, by its own word; what it has is of the same kinds. */
  readonly kinds: readonly string[];
}

/** The most routes that one instance gets: beyond, more takers make nothing faster. */
export const MOST_ROUTES = 16;

/**
 * Those who take, at most MOST_ROUTES, one route each. `isEnding`: the leaver's whole generation ends. `current`: the service's current
 * generation. Of many, different leavers get different ones first.
 */
export function takersOf<P extends Party>(
  leaver: Party,
  isEnding: boolean,
  current: number | null,
  all: readonly P[],
): readonly P[] {
  const successor = isEnding ? current : leaver.generation;
  const kinds = new Set(leaver.kinds);
  const able = all.filter(
    (each) =>
      each.generation === successor &&
      each.isReady &&
      !(each.generation === leaver.generation && (isEnding || each.instance === leaver.instance)) &&
      each.kinds.some((kind) => kinds.has(kind)),
  );
  const first = able.length <= MOST_ROUTES ? 0 : (leaver.instance * MOST_ROUTES) % able.length;
  return [...able.slice(first), ...able.slice(0, first)].slice(0, MOST_ROUTES);
}
