/** A service's hold, from when someone asks for it to the deploy that ends it; what it consists of is deploy/hold.ts's. */
import { isEnding } from "../../deploy/fleet.ts";
import { advanceHold, decideHold, type Hold, type HoldRequest, type Standing } from "../../deploy/hold.ts";
import { withFaultPoints } from "../fault.ts";
import type { Roster } from "./roster.ts";
import type { ServiceFleet } from "./service-fleet.ts";
import type { ServiceRecord } from "../state/snapshot.ts";
import type { Surroundings } from "../surroundings.ts";

/** As it is shown. */
export interface Held extends Hold {
  /** Connections that wait. */
  readonly waiting: number;
}

export class Holding {
  readonly #roster: Roster;
  readonly #fleet: ServiceFleet;
  readonly #surroundings: Surroundings;
  #isAdvancing = false;
  #isPaused = false;

  constructor(roster: Roster, fleet: ServiceFleet, surroundings: Surroundings) {
    this.#roster = roster;
    this.#fleet = withFaultPoints(fleet, "hold");
    this.#surroundings = surroundings;
  }

  get view(): Held | null {
    const { hold } = this.#roster;
    if (hold === null) return null;
    const placements = this.#roster.find(hold.to)?.placements ?? [];
    return { ...hold, waiting: placements.reduce((sum, { slot }) => sum + slot.queue.length, 0) };
  }

  /** Written down, and begun: it holds when the slots are there, which takes a moment. Throws as decideHold does. */
  begin(standing: Standing, request: HoldRequest): void {
    const hold = decideHold(standing, request, Date.now());
    if (hold === this.#roster.hold) return;
    this.#roster.commit({ hold, lastNumber: hold.to }, () => this.#roster.write());
    this.#say("service.held", `${hold.service} is held by ${hold.requestedBy}: new connections wait`, hold);
    this.#surroundings.history.append({
      type: "hold",
      id: hold.service,
      service: hold.service,
      by: hold.requestedBy,
      idles: hold.idles,
    });
    this.advance();
  }

  /** Of a service of which nothing lives any more. */
  restore(record: Pick<ServiceRecord, "hold"> | null): void {
    this.#roster.hold = record?.hold ?? null;
    this.advance();
  }

  /** Does what can be done now; to be called after each change. */
  advance(): void {
    const { hold } = this.#roster;
    if (hold === null || this.#isAdvancing || this.#isPaused) return;
    this.#isAdvancing = true;
    try {
      advanceHold(this.#fleet, hold, () => this.#fleet.see(hold));
    } catch (error) {
      this.#surroundings.log.error({ err: error, service: hold.service }, "a hold cannot go on");
    } finally {
      this.#isAdvancing = false;
    }
    const holding = this.#roster.find(hold.to);
    if (holding === null || !isEnding(holding) || holding.weight > 0) return;
    // It got no slots, and everything is as it was.
    this.#roster.hold = null;
    const why = holding.view.failure?.message ?? "its slots cannot be had";
    this.#say("service.hold-failed", `${hold.service} cannot be held: ${why}`, hold);
  }

  /** Nothing is done until `unpause`. */
  pause(): void {
    this.#isPaused = true;
  }

  unpause(): void {
    this.#isPaused = false;
    this.advance();
  }

  #say(type: string, message: string, { service }: Hold): void {
    this.#surroundings.say({ type, message, service }, type === "service.held" ? "info" : "error");
  }
}
