/**
 * The world to the runners of a service's deploys, and to its hold: it shows what is, writes records down, and does what it is
 * told. What people ask is service.ts's.
 */
import { type Deployment, isTerminal } from "../../deploy/deployment.ts";
import type { Fleet, Move, Observation, Party } from "../../deploy/fleet.ts";
import { parseNetworks } from "../../handoff/network.ts";
import type { Listener } from "../../handoff/listener.ts";
import { Analysis } from "../proof/analysis.ts";
import { commandSpecification } from "../proof/command.ts";
import type { ServiceConfig } from "../config/config.ts";
import type { Deploys } from "./deploys.ts";
import { Generation } from "../generation/generation.ts";
import { type GenerationHooks, newGeneration } from "../generation/generation-record.ts";
import type { Roster } from "./roster.ts";
import { steer } from "../sockets/steer.ts";
import type { Surroundings } from "../surroundings.ts";

export interface FleetParts {
  readonly service: string;
  readonly roster: Roster;
  readonly deploys: () => Deploys;
  /** As they are for whatever is started next. */
  readonly config: () => ServiceConfig;
  readonly listeners: () => ReadonlyMap<string, Listener>;
  readonly hooks: GenerationHooks;
  /** Who gets new connections has changed. */
  readonly onWeighed: () => void;
}

export class ServiceFleet implements Fleet {
  readonly #parts: FleetParts;
  readonly #surroundings: Surroundings;
  readonly #analysis: Analysis;
  /** The deploy whose candidate is looked at. */
  #analysed: string | null = null;

  constructor(parts: FleetParts, surroundings: Surroundings) {
    this.#parts = parts;
    this.#surroundings = surroundings;
    const { service, hooks } = parts;
    this.#analysis = new Analysis({ service, onChange: () => hooks.onChange(), surroundings });
  }

  /** Settles when nothing that it has begun beside the generations is under way. */
  stop(): Promise<void> {
    return this.#analysis.stop();
  }

  /** As `stop`, until `unpause`: what is looked at is recorded. */
  pause(): Promise<void> {
    return this.stop();
  }

  /** Looks at what the deploys under way need looked at; the analysis is theirs to ask for. */
  unpause(): void {
    for (const deployment of this.#parts.deploys().all) if (!isTerminal(deployment)) this.attend(deployment);
  }

  get generations(): readonly Generation[] {
    return this.#parts.roster.generations;
  }

  observe(deployment: Deployment): Observation {
    const { roster, deploys } = this.#parts;
    return {
      now: Date.now(),
      ...this.see(deployment),
      fallback: roster.find(deployment.fallback)?.view ?? null,
      analysis: this.#analysis.view,
      nextNumber: roster.lastNumber + 1,
      isLatest: deploys().all[0]?.id === deployment.id,
    };
  }

  see({ from, to }: Pick<Move, "from" | "to">): Pick<Observation, "candidate" | "previous"> {
    const { roster } = this.#parts;
    return { candidate: roster.find(to)?.view ?? null, previous: roster.find(from)?.view ?? null };
  }

  record(deployment: Deployment): void {
    const { roster, deploys } = this.#parts;
    const { to, fallback, phase, version } = deployment;
    const change = {
      lastNumber: Math.max(roster.lastNumber, to, fallback ?? 0),
      // From here on there is no way back but another deploy: this is the release that a reboot starts.
      version: phase === "draining" || phase === "succeeded" ? version : roster.version,
    };
    roster.commit(change, () => deploys().record(deployment, () => roster.write()));
    this.attend(deployment);
  }

  /** Looks at what the phase that is recorded needs looked at, and at nothing else. */
  attend({ id, to, phase, options }: Deployment): void {
    const meetsUsers = phase === "shifting" || phase === "baking";
    // A later deploy may be under way while this one drains.
    if (!meetsUsers && this.#analysed === id) void this.#analysis.stop();
    const isWatched = meetsUsers && options.watchQueueMs > 0;
    this.#parts.roster.find(to)?.watchQueue(isWatched ? options.watchQueueMs : null);
  }

  start({ from, to, version }: Move, instances: number): void {
    const { roster, config } = this.#parts;
    const generation = this.#create(config(), to, version, instances, from);
    roster.candidate = to;
    generation.start(from === null && takesWhoWaits(config()) ? "weighted" : "free");
  }

  fallBack({ from, fallback, options }: Deployment): void {
    const { roster, config } = this.#parts;
    if (fallback === null || roster.find(fallback) !== null) return;
    const before = roster.find(from);
    const generation = this.#create(
      before?.config ?? config(),
      fallback,
      before === null ? roster.version : before.version,
      options.previousInstances,
      from,
    );
    roster.current = fallback;
    generation.start("weighted");
    generation.setWeight(1);
    roster.persist();
  }

  verify({ to }: Deployment, now: number): void {
    this.#parts.roster.find(to)?.verify(now);
  }

  analyse({ id, to }: Deployment, stage: number): void {
    const candidate = this.#parts.roster.find(to);
    const analysis = candidate?.config.deploy.analysis ?? null;
    if (candidate === null || analysis === null) return;
    this.#analysed = id;
    this.#analysis.begin(
      analysis,
      {
        version: candidate.version,
        generation: candidate.number,
        weight: () => candidate.weight,
        commandSpecification: (...command) => commandSpecification(candidate, ...command),
      },
      stage,
    );
  }

  weigh({ from, to }: Move, share: number, pinned: boolean): void {
    const { roster, onWeighed } = this.#parts;
    const candidate = roster.find(to);
    if (candidate === null) return;
    const previous = roster.find(from);
    const { share: kind, pin } = candidate.config.deploy;
    steer(candidate.placements, previous?.placements ?? [], share, {
      // The same throughout the deploy, and after a recovery; another one in the next, so that not always the same go first.
      sticky: kind === "sticky" ? to : null,
      networks: pinned ? parseNetworks(pin) : [],
    });
    // An instance that came up after the proof may have said a backlog of its own.
    for (const { listener, slot } of candidate.placements) slot.assertBacklog(listener.backlog);
    candidate.setWeight(share, pinned);
    previous?.setWeight(1 - share);
    roster.shift(from, to, share);
    roster.persist();
    onWeighed();
  }

  resize({ from, to }: Deployment, which: "candidate" | "previous", instances: number): void {
    this.#parts.roster.find(which === "candidate" ? to : from)?.resize(instances);
  }

  retire(move: Move & Partial<Pick<Deployment, "fallback" | "strategy">>, party: Party): void {
    const { roster } = this.#parts;
    const numbers = { candidate: move.to, previous: move.from, fallback: move.fallback ?? null };
    const number = numbers[party];
    roster.release(number);
    // A hold is the first half of recreate.
    roster.find(number)?.retire({ isAlone: (move.strategy ?? "recreate") === "recreate" });
  }

  wake(deployment: Deployment, at: number | null): void {
    this.#parts.deploys().wake(deployment, at);
  }

  #create(
    config: ServiceConfig,
    number: number,
    version: string | null,
    instances: number,
    before: number | null,
  ): Generation {
    const { roster, hooks, listeners } = this.#parts;
    const record = newGeneration(config, number, version, instances, before, Date.now());
    const generation = new Generation(record, listeners(), hooks, this.#surroundings);
    roster.add(generation);
    return generation;
  }
}

/** Where nothing may run beside it, or no acceptor can be started, those who wait for the first generation can only be its own to take. */
function takesWhoWaits({ deploy, command }: ServiceConfig): boolean {
  return deploy.strategy === "recreate" || command.length === 0;
}
