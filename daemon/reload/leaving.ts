/**
 * What was removed from the configuration and is still there. Nothing of it is cut off:
 *
 *   listener   the generations that have it serve it until they drain; then it refuses new connections (refuse.ts), they take
 *              what waits, and when no generation has a slot of it any more it is closed
 *   service    drains and ends; its listeners, when they are removed too, refuse at once
 *
 * A listener that stays and that nobody will serve once its generation drains gets its connections held in an idle slot.
 */
import type { Listener } from "../../handoff/listener.ts";
import { refuseNew, refusesNew } from "../../handoff/refuse.ts";
import type { ListenerConfig } from "../config/config.ts";
import { reach } from "../fault.ts";
import type { Service } from "../service/service.ts";
import type { SnapshotStore } from "../state/snapshot.ts";
import { holdAside } from "../sockets/steer.ts";
import type { Surroundings } from "../surroundings.ts";

export interface Estate {
  readonly listeners: Map<string, Listener>;
  readonly services: Map<string, Service>;
  readonly store: SnapshotStore;
  readonly surroundings: Surroundings;
}

export class Leaving {
  readonly #estate: Estate;
  /** Called when a listener or a service has gone. */
  readonly #onGone: () => void;
  readonly #listeners = new Map<string, ListenerConfig>();
  readonly #services = new Set<string>();
  #hasBegun = false;

  constructor(estate: Estate, onGone: () => void) {
    this.#estate = estate;
    this.#onGone = onGone;
  }

  get listeners(): readonly ListenerConfig[] {
    return [...this.#listeners.values()];
  }

  get services(): readonly string[] {
    return [...this.#services];
  }

  hasListener(name: string): boolean {
    return this.#listeners.has(name);
  }

  hasService(name: string): boolean {
    return this.#services.has(name);
  }

  isShut(name: string): boolean {
    const listener = this.#estate.listeners.get(name);
    return listener === undefined || refusesNew(listener);
  }

  /** It is in the configuration again, before it refused anybody. */
  keepListener(name: string): void {
    this.#listeners.delete(name);
  }

  /** Every service is there with its generations: from here on what nobody uses is not needed. */
  begin(): void {
    this.#hasBegun = true;
    this.review();
  }

  /** Nothing happens before `review`. */
  addListener(config: ListenerConfig): void {
    this.#listeners.set(config.name, config);
  }

  /** Nothing ends before `endService`. */
  addService(name: string): void {
    this.#services.add(name);
  }

  /** Returns when every process of it has ended; nothing is left of it then but its record. */
  async endService(service: Service): Promise<void> {
    await service.stop();
    reach("reload.ended");
    this.#estate.store.forgetVersion(service.name);
    this.#estate.services.delete(service.name);
    this.#services.delete(service.name);
    this.#say("service.removed", { service: service.name }, `${service.name} has ended and is removed`);
    this.#onGone();
    this.review();
  }

  /**
   * Looks what can be refused, held or closed by now: whenever a generation has changed, of whichever service. So it looks only at
   * listeners that something is to be done about, and not at all of them for all services.
   */
  review(): void {
    if (!this.#hasBegun) return;
    const services = [...this.#estate.services.values()];
    for (const [name, { address }] of this.#listeners) {
      const listener = this.#estate.listeners.get(name);
      if (listener === undefined || this.#isServed(services, name)) continue;
      // systemd has the socket too, and what is said to it holds for systemd's: refusing would not end with us.
      if (address.kind === "inherited") this.#aside(listener);
      else this.#shut(listener);
      const isUsed = services.some((service) => uses(service, name) || mayComeBackTo(service, name));
      if (!isUsed && listener.slots.every(({ owner }) => owner === null)) this.#close(listener);
    }
    for (const name of strandedOf(services)) {
      const listener = this.#estate.listeners.get(name);
      if (listener === undefined || this.#listeners.has(name) || this.#isServed(services, name)) continue;
      const users = services.filter((service) => uses(service, name));
      if (users.every(({ config }) => !config.listeners.includes(name))) this.#aside(listener);
    }
  }

  #isServed(services: readonly Service[], listener: string): boolean {
    return services.some((service) => !this.#services.has(service.name) && serves(service, listener));
  }

  /** New connections wait where no generation takes them. */
  #aside(listener: Listener): void {
    if (!listener.shares.some(({ slot, share }) => share > 0 && listener.slots[slot]?.owner === null))
      holdAside(listener, this.#estate.surroundings);
  }

  #shut(listener: Listener): void {
    if (refusesNew(listener)) return;
    try {
      refuseNew(listener);
      const message = `${listener.name} (${listener.address}) is being removed: new connections are refused, those that wait are served`;
      this.#say("listener.refusing", { listener: listener.name }, message);
    } catch (error) {
      // It takes connections until its generation has ended then; they are counted when it is closed.
      this.#estate.surroundings.log.error(
        { err: error, listener: listener.name },
        "a listener cannot refuse",
      );
    }
  }

  #close(listener: Listener): void {
    const { listeners, surroundings } = this.#estate;
    // An acceptor or a keeper that is replaced meanwhile must not find it half closed.
    listeners.delete(listener.name);
    listener.close().then(
      (lost) => {
        reach("reload.closed");
        this.#listeners.delete(listener.name);
        const waiting = lost === 0 ? "" : `; ${lost} connections that nobody took were reset`;
        const message = `${listener.name} (${listener.address}) is removed${waiting}`;
        this.#say("listener.removed", { listener: listener.name }, message, lost === 0 ? "info" : "warn");
        this.#onGone();
      },
      (error: unknown) => {
        // The keeper could not be told: its replacement holds nothing of it.
        this.#listeners.delete(listener.name);
        surroundings.log.error({ err: error, listener: listener.name }, "a listener could not be closed");
        this.#onGone();
      },
    );
  }

  #say(
    type: string,
    about: { readonly service?: string; readonly listener?: string },
    message: string,
    level: "info" | "warn" = "info",
  ): void {
    this.#estate.surroundings.say({ type, message, ...about }, level);
  }
}

/** Listeners that a generation has which has not ended, and that its service has not any more. */
function strandedOf(services: readonly Service[]): Set<string> {
  const names = new Set<string>();
  for (const { config, generations } of services) {
    for (const { isOver, config: started } of generations) {
      if (isOver || started.listeners === config.listeners) continue;
      for (const name of started.listeners) if (!config.listeners.includes(name)) names.add(name);
    }
  }
  return names;
}

/** Whether a generation that has not ended has the listener. */
export function uses({ generations }: Service, listener: string): boolean {
  return generations.some(({ isOver, config }) => !isOver && config.listeners.includes(listener));
}

/** Whether one of those is not about to end. */
function serves({ generations }: Service, listener: string): boolean {
  return generations.some(
    ({ isOver, state, config }) => !isOver && state !== "draining" && config.listeners.includes(listener),
  );
}

/** Whether a deploy under way may start a generation with the listener again, to go back (recreate). */
export function mayComeBackTo({ activeDeploy, generations }: Service, listener: string): boolean {
  return activeDeploy !== null && generations.some(({ config }) => config.listeners.includes(listener));
}
