/**
 * A state machine is one table: for each state, the events it knows and where they lead. An event that the
 * state does not know is a fact, not an exception: the deadline fired while the message was in flight, or the
 * process ended twice in one turn of the loop. `fire` then says false and the caller decides what it means.
 */
export type TransitionTable<State extends string, Event extends string> = Readonly<
  Record<State, Readonly<Partial<Record<Event, State>>>>
>;

export class Machine<State extends string, Event extends string> {
  readonly #table: TransitionTable<State, Event>;
  #state: State;
  #since: number;

  /** `since`: when the state began, in the caller's clock; a recovered machine is given the recorded instant. */
  constructor(table: TransitionTable<State, Event>, state: State, since: number) {
    this.#table = table;
    this.#state = state;
    this.#since = since;
  }

  get state(): State {
    return this.#state;
  }

  /** When the present state began; an event that leads back to the same state does not begin it anew. */
  get since(): number {
    return this.#since;
  }

  /** Takes the event. False, and nothing has changed, when the present state does not know it. */
  fire(event: Event, now: number): boolean {
    const next = this.#table[this.#state][event];
    if (next === undefined) return false;
    if (next !== this.#state) {
      this.#state = next;
      this.#since = now;
    }
    return true;
  }
}
