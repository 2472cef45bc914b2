import type { Deployment } from "../../deploy/deployment.ts";
import type { Fleet, Move, Observation, Party } from "../../deploy/fleet.ts";
import { candidate, previous } from "./records.ts";

/** Writes down what it is told to do, and shows the world that it is given. */
export class NotingFleet implements Fleet {
  readonly notes: string[] = [];
  world: Observation;
  onNote: (note: string) => void = () => undefined;

  constructor(world: Observation) {
    this.world = world;
  }

  observe(): Observation {
    return this.world;
  }

  record({ phase, weight, wish }: Deployment): void {
    this.#note(`record ${phase} ${weight}${wish === null ? "" : ` ${wish}`}`);
  }

  start(): void {
    this.world = { ...this.world, candidate: candidate({ state: "starting", ready: 0 }) };
    this.#note("start");
  }

  verify(_deployment: Deployment, verificationSince: number): void {
    const proof = { verification: "running", verificationSince } as const;
    this.world = { ...this.world, candidate: { ...(this.world.candidate ?? candidate()), ...proof } };
    this.#note("verify");
  }

  fallBack({ fallback }: Deployment): void {
    this.world = { ...this.world, fallback: previous({ state: "starting", ready: 0 }) };
    this.#note(`fall back as ${fallback ?? "?"}`);
  }

  analyse(_deployment: Deployment, stage: number): void {
    const analysis = { stage, state: "waiting", samples: 0, since: this.world.now, reason: null } as const;
    this.world = { ...this.world, analysis };
    this.#note(`analyse ${stage}`);
  }

  resize(deployment: Deployment, generation: "candidate" | "previous", instances: number): void {
    const seen = this.world[generation];
    this.world = { ...this.world, [generation]: seen && { ...seen, wanted: instances } };
    this.#note(`resize ${generation} ${instances} at ${deployment.resizedAt ?? "?"}`);
  }

  weigh(_move: Move, share: number, pinned: boolean): void {
    this.world = {
      ...this.world,
      candidate: candidate({ weight: share, pinned }),
      previous: previous({ weight: 1 - share }),
    };
    this.#note(`weigh ${share}`);
  }

  retire(_move: Move, generation: Party): void {
    const ended = { state: "stopped", weight: 0 } as const;
    this.world =
      generation === "candidate"
        ? { ...this.world, candidate: candidate(ended) }
        : { ...this.world, previous: previous(ended) };
    this.#note(`retire ${generation}`);
  }

  wake(_deployment: Deployment, at: number | null): void {
    this.#note(`wake ${at ?? "never"}`);
  }

  #note(note: string): void {
    this.notes.push(note);
    this.onNote(note);
  }
}
