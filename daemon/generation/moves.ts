/**
 * Connections that move from an instance that ends to those who go on in its place, without a byte of theirs passing here: the two
 * processes get one end each of a socket pair, and pass each other the descriptors. Who takes from whom is deploy/routes.ts's.
 *
 *   HELLO   it can take, and give           written down, for the next daemon
 *   ROUTE   to the taker, then to the giver, in that order, right before the giver is told to end; or when it WANTs one
 *   TOOK    whose the connections are now   they get the mark of the taker's slot, and are counted (remark.ts)
 *   MOVED   what became of the giver's      counted
 *
 * A death at any point leaves a pair with one end, or none: whoever has the other one sees its end of file. The daemon holds neither
 * end longer than it takes to send it.
 */
import { takersOf } from "../../deploy/routes.ts";
import { isEnding } from "../../deploy/fleet.ts";
import type { CodedError } from "../../handoff/coded-error.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { type Held, routeFrame, type Said } from "../../handoff/messages.ts";
import { native } from "../../handoff/native.ts";
import { pause } from "./ending.ts";
import { reach } from "../fault.ts";
import type { Generation } from "./generation.ts";
import type { Instance } from "./instance.ts";
import type { Marks } from "../sockets/marks.ts";
import type { SaidRecord } from "./program-channel.ts";
import { Remarks } from "./remark.ts";
import type { Surroundings } from "../surroundings.ts";

/** What it needs of a service. */
interface Owner {
  readonly current: number | null;
  readonly generations: readonly Generation[];
}

/** An instance by name. */
export interface Mover {
  readonly service: string;
  readonly generation: number;
  readonly instance: Instance;
}

/** The keeper answers sooner, or not at all. */
const MOST_ASKED_MS = 6_000;

type Needed = Pick<Surroundings, "say" | "tally" | "connectionsOf">;

export class Moves {
  readonly #services: ReadonlyMap<string, Owner>;
  readonly #remarks: Remarks;
  readonly #surroundings: () => Needed;
  /** Those who want a way and have got none yet. */
  readonly #wanting = new Set<Mover>();

  /** `services` as they are when something happens. `marks`: null where connections bear none. */
  constructor(
    services: ReadonlyMap<string, Owner>,
    marks: () => Pick<Marks, "isOurs"> | null,
    surroundings: () => Needed,
  ) {
    this.#services = services;
    this.#surroundings = surroundings;
    this.#remarks = new Remarks(marks, (...event) => this.#surroundings().say(...event));
  }

  /** Gives an instance that is about to be told to end its ways to those who go on. They are there when it returns. */
  route(leaver: Mover): void {
    const { instance, generation } = leaver;
    const giver = instance.program;
    const takers = giver?.open === true ? this.#takersFor(leaver) : [];
    if (giver === null || takers.length === 0) return;
    let given = 0;
    for (const { program, ...taker } of takers) {
      const [ours, theirs] = native.seqpacketPair().map((fd) => new Descriptor(fd)) as [
        Descriptor,
        Descriptor,
      ];
      using give = ours;
      using take = theirs;
      reach("route.made");
      if (program?.tell(routeFrame("take", generation, instance.id, []), take.fd) !== true) continue;
      reach("route.taken");
      if (giver.tell(routeFrame("send", taker.generation, taker.instance, taker.kinds), give.fd)) given++;
      reach("route.given");
    }
    // One that is dying cannot be told, and its end is not known yet: whoever asked is given a way when somebody has come in its place.
    if (given === 0) return;
    giver.answered();
    this.#forget(instance);
  }

  heard(mover: Mover, said: Said): void {
    const { service } = mover;
    switch (said.type) {
      case "hello":
        this.review();
        return;
      case "want":
        this.#forget(mover.instance);
        this.#wanting.add(mover);
        this.route(mover);
        return;
      case "took":
        this.#took(mover, said.held);
        return;
      case "moved":
        this.#surroundings().tally.movesFailed(service, said.failed);
    }
  }

  /** Somebody may have come who can take what others want to be rid of. */
  review(): void {
    for (const mover of [...this.#wanting]) {
      if (mover.instance.process === null) this.#wanting.delete(mover);
      else this.route(mover);
    }
  }

  violated({ service, generation, instance }: Mover, why: CodedError): void {
    const message = `instance ${instance.id} of ${service}/${generation}: ${why.message}; it is served on, and its connections do not move`;
    this.#surroundings().say(
      { type: "instance.violation", code: why.code, service, generation, instance: instance.id, message },
      "warn",
    );
  }

  /**
   * Nobody is heard until `unpause`: what is said waits for the next image. Returns when what was asked for is done: it is in the record
   * then, or was never answered.
   */
  async pause(): Promise<void> {
    const asked = this.#instances.map((instance) => instance.pause());
    // One that lets go of what takes long to close (foreign.ts) keeps nobody waiting: it is not in the record any more.
    await Promise.race([Promise.all(asked), pause(MOST_ASKED_MS)]);
  }

  unpause(): void {
    for (const instance of this.#instances) instance.unpause();
  }

  /**
   * Open connections of a generation, those that others have taken not among them; null where they are not counted. What the takers
   * have said already is heard first.
   */
  openOf({ config: { name }, marks, instances }: Generation): number | null {
    const all = this.#services.get(name)?.generations.flatMap((each) => each.instances) ?? [];
    for (const { program } of all) program?.catchUp();
    const open = this.#surroundings().connectionsOf(marks);
    if (open === null || !this.#remarks.isRefusedBy(name)) return open;
    // They bear its mark still.
    return Math.max(0, open - movedFrom(instances).moved);
  }

  /** A generation has ended, of these instances: what became of its connections, where any of them moved. */
  sayDrained({ config, number, name, traffic }: Generation, instances: readonly Instance[]): void {
    const { moved, failed } = movedFrom(instances);
    if (moved + failed === 0) return;
    const { atEnd, cut } = traffic.record;
    const current = this.#services.get(config.name)?.current ?? null;
    const to = current === null || current === number ? "another generation" : `${config.name}/${current}`;
    const stayed = atEnd === null ? 0 : Math.max(0, atEnd - moved - (cut ?? 0));
    const drained = atEnd === null ? "the others" : stayed.toLocaleString("en-US");
    const killed = cut === null || cut === 0 ? "" : `, ${cut.toLocaleString("en-US")} cut`;
    const message = `${name} moved ${connections(moved)} to ${to}, ${drained} drained${killed}`;
    this.#surroundings().say({
      type: "generation.moved",
      service: config.name,
      generation: number,
      message,
    });
  }

  /** The same of one instance, which left while its siblings stayed. */
  sayLeft({ service, generation, instance }: Mover): void {
    const { moved, failed } = instance.said;
    if (moved + failed === 0) return;
    const message = `instance ${instance.id} of ${service}/${generation} moved ${connections(moved)} to its siblings`;
    this.#surroundings().say({ type: "instance.moved", service, generation, instance: instance.id, message });
  }

  get #instances(): Instance[] {
    return [...this.#services.values()].flatMap(({ generations }) =>
      generations.flatMap(({ instances }) => instances),
    );
  }

  #forget(instance: Instance): void {
    for (const each of this.#wanting) if (each.instance === instance) this.#wanting.delete(each);
  }

  #takersFor({ service, generation: number, instance }: Mover) {
    const owner = this.#services.get(service);
    const own = owner?.generations.find((generation) => generation.number === number);
    if (owner === undefined || own === undefined) return [];
    const all = owner.generations.flatMap((generation) =>
      generation.instances.map((each) => ({
        generation: generation.number,
        instance: each.id,
        isReady: each.isReady,
        kinds: each.said.kinds,
        program: each.program,
      })),
    );
    const { kinds } = instance.said;
    const leaver = { generation: number, instance: instance.id, isReady: false, kinds };
    return takersOf(leaver, isEnding(own), owner.current, all);
  }

  #took({ service, generation: number, instance }: Mover, held: readonly Held[]): void {
    const own = this.#services.get(service)?.generations.find((generation) => generation.number === number);
    const markOf = (listener: string): number =>
      own?.placements.find((placement) => placement.listener.name === listener)?.slot.mark ?? 0;
    if (instance.process !== null) this.#remarks.apply(service, instance.process, held, markOf);
    this.#surroundings().tally.connectionsMoved(service, held.length);
  }
}

/** By their own word. */
export function movedFrom(instances: readonly Instance[]): Pick<SaidRecord, "moved" | "failed"> {
  const all = instances.map(({ said }) => said);
  const sum = (of: (said: SaidRecord) => number): number => all.reduce((so, each) => so + of(each), 0);
  return { moved: sum(({ moved }) => moved), failed: sum(({ failed }) => failed) };
}

function connections(count: number): string {
  return `${count.toLocaleString("en-US")} connection${count === 1 ? "" : "s"}`;
}
