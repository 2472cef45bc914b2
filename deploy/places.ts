/** Which place of a generation an instance gets that someone else has started. Pure. */

/** An instance of a generation whose process is awaited. */
export interface Place {
  readonly generation: number;
  readonly instance: number;
}

/** What a launcher asks for; null: whichever is awaited. */
export interface PlaceWish {
  readonly generation: number | null;
  readonly instance: number | null;
}

/**
 * The newest generation first, since that is the one that a deploy waits for, and of it the lowest instance. null when nothing is
 * awaited that would do: a process that was started for one generation never gets another one's sockets.
 */
export function choosePlace<P extends Place>(awaited: Iterable<P>, wish: PlaceWish): P | null {
  const [first] = [...awaited]
    .filter(({ generation }) => wish.generation === null || wish.generation === generation)
    .filter(({ instance }) => wish.instance === null || wish.instance === instance)
    .sort((a, b) => b.generation - a.generation || a.instance - b.instance);
  return first ?? null;
}

/** "5-1", as handoff-exec --place takes it. */
export function formatPlace({ generation, instance }: Place): string {
  return `${generation}-${instance}`;
}
