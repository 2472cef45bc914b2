/**
 * Connections on their way from one generation to the next: which routes there are, who is asked next, and what became of it. The
 * daemon has made the routes (a pair of sockets each, by ROUTE on HANDOFF_FD) and is in no way of what travels on them.
 */
import type { Socket } from "node:net";
import { type Adapter, LookAgain } from "./adapter.ts";
import { DaemonChannel, type Offered } from "./channel.ts";
import { Ramp, STEP_MS } from "./ramp.ts";
import { Route, type Parcel } from "./route.ts";
import { type Arrived, Taker } from "./taker.ts";
import { messageOf } from "../coded-error.ts";
import { native } from "../native.ts";

/** Counters of this process, and whether connections move at all. */
export interface MoveCounts {
  /** null: connections move. Else why not: they drain politely. */
  readonly off: string | null;
  /** Ours, on their way: nobody serves them until they are answered for. */
  readonly leaving: number;
  /** Of other generations: served here. */
  readonly taken: number;
  /** Ours, served elsewhere now. */
  readonly given: number;
  /** Ours, given back: refused, or the taker had ended. They drain here. */
  readonly returned: number;
  /** Taken and then not served: closed. */
  readonly broken: number;
}

/**
 * So many leave together, in one frame. The new process takes up no more in a turn of its loop: some milliseconds' work, where it has never
 * done it before. In between it answers those whom it has.
 */
const TOGETHER = 16;
/** What a way brings may not take what is left, or refuse it: asked again at once, the daemon would make ways without end. */
const WANT_AGAIN_MS = 1000;
/** After the last change, so long until the daemon is told: it counts, and nothing depends on it. */
const REPORT_MS = 20;

export class Moves {
  readonly #adapters: readonly Adapter[];
  readonly #complain: (what: string) => void;
  readonly #onSettled: () => void;
  readonly #channel: DaemonChannel | null;
  readonly #routes: Route[] = [];
  readonly #takers = new Set<Taker>();
  #off: string | null;
  #draining = false;
  #wanting = false;
  #woken = false;
  #turn = 0;
  /** Of those who can take now; null: nobody can, or none has left yet. */
  #ramp: Ramp | null = null;
  /** What the ramp holds back goes without any other event. A timer is up to one millisecond early. */
  readonly #step = new LookAgain(STEP_MS + 1, () => this.pump());
  #pause: NodeJS.Timeout | undefined;
  #report: NodeJS.Timeout | undefined;
  readonly #counts = { taken: 0, given: 0, returned: 0, broken: 0 };
  #told = { given: 0, failed: 0 };

  /** `channel` is HANDOFF_FD, owned from here on. `adapters` may grow. `complain` says on standard error what nobody else would learn. `onSettled`: nothing is under way at the moment. */
  constructor(
    channel: number | null,
    off: string | null,
    adapters: readonly Adapter[],
    complain: (what: string) => void,
    onSettled: () => void,
  ) {
    this.#complain = complain;
    this.#adapters = adapters;
    this.#onSettled = onSettled;
    this.#off = channel === null ? (off ?? "there is no handoffd that would make a way") : off;
    this.#channel =
      channel === null
        ? null
        : new DaemonChannel(
            channel,
            (offered) => this.#offered(offered),
            () => (this.#off ??= "the channel to handoffd was closed"),
          );
  }

  get counts(): MoveCounts {
    const leaving = this.#routes.reduce((sum, route) => sum + route.leaving, 0);
    return { off: this.#off, leaving, ...this.#counts };
  }

  /** Whether nothing of ours is on the way to another process. */
  get settled(): boolean {
    return this.#routes.every((route) => route.settled);
  }

  /** Says what this process can take. */
  hello(): void {
    if (this.#off !== null) return;
    this.#channel?.hello(this.#adapters.flatMap(({ kind }) => kind ?? []));
  }

  /** Whether somebody could take a connection of this kind now. */
  movable(kind: string | null): boolean {
    return kind !== null && this.#routes.some((route) => route.open && route.kinds.has(kind));
  }

  /** From here on connections leave and none comes. */
  drain(): void {
    this.#draining = true;
    if (this.#off === null) this.#channel?.hearAll();
  }

  /** Soon, all at once: adapters call this for each connection. */
  wake(): void {
    if (this.#woken || !this.#draining) return;
    this.#woken = true;
    setImmediate(() => this.pump());
  }

  /** Sends what can go now. */
  pump(): void {
    this.#woken = false;
    if (!this.#draining) return;
    // Also when the daemon has gone: it is in no way of what moves.
    for (const adapter of this.#adapters) this.#pumpOne(adapter);
    if (this.#ramp?.over === false) this.#step.soon();
    this.#wantIfNeeded();
  }

  end(): void {
    // Whoever still wakes it.
    this.#draining = false;
    clearTimeout(this.#pause);
    clearTimeout(this.#report);
    this.#tell();
    for (const route of this.#routes) route.close();
    for (const taker of this.#takers) taker.close();
    this.#channel?.close();
  }

  #pumpOne(adapter: Adapter): void {
    const { kind } = adapter;
    if (kind === null) return;
    for (;;) {
      const able = this.#routes.filter((route) => route.room > 0 && route.kinds.has(kind));
      // Round robin, a frame at a time: an instance that is slow to answer has no room.
      const route = able[this.#turn++ % Math.max(1, able.length)];
      if (route === undefined) return;
      this.#ramp ??= new Ramp(this.#left);
      const parcels: Parcel[] = [];
      const most = Math.min(TOGETHER, route.room, this.#ramp.room(TOGETHER));
      while (parcels.length < most) {
        const parcel = adapter.next();
        if (parcel === null) break;
        parcels.push(this.#counted(parcel));
      }
      if (parcels.length === 0) return;
      this.#ramp.leave(parcels.length);
      route.send(parcels);
    }
  }

  /** How many connections there are that could move. */
  get #left(): number {
    return this.#adapters.reduce((sum, { kind, left }) => sum + (kind === null ? 0 : left), 0);
  }

  #counted(parcel: Parcel): Parcel {
    return {
      ...parcel,
      taken: () => {
        this.#counts.given += 1;
        this.#tellSoon();
        return parcel.taken();
      },
      back: () => {
        this.#counts.returned += 1;
        this.#tellSoon();
        parcel.back();
      },
    };
  }

  #wantIfNeeded(): void {
    const waits = this.#adapters.some(({ kind, left }) => kind !== null && left > 0 && !this.movable(kind));
    if (!waits || this.#wanting || this.#pause !== undefined || this.#off !== null) return;
    this.#wanting = true;
    this.#channel?.want();
    this.#pause = setTimeout(() => {
      this.#pause = undefined;
      this.#wantIfNeeded();
    }, WANT_AGAIN_MS);
    this.#pause.unref();
  }

  #offered({ direction, kinds, descriptor }: Offered): void {
    if (direction === "take") {
      const taker = new Taker(
        descriptor,
        {
          accepts: (kind) => !this.#draining && this.#find(kind) !== undefined,
          take: (arrived) => this.#take(arrived),
        },
        (ended) => this.#takers.delete(ended),
      );
      this.#takers.add(taker);
      return;
    }
    this.#wanting = false;
    if (!kinds.some((kind) => this.#find(kind) !== undefined)) {
      descriptor.close();
      return;
    }
    const route = new Route(
      descriptor,
      kinds,
      () => this.#answered(),
      (ended) => {
        this.#routes.splice(this.#routes.indexOf(ended), 1);
        this.#answered();
      },
    );
    // Who takes now may have just started, whoever took before.
    if (!this.#routes.some(({ open }) => open)) this.#ramp = null;
    this.#routes.push(route);
    for (const adapter of this.#adapters) adapter.retry();
    this.wake();
  }

  #answered(): void {
    // Who takes nothing any more is not kept waiting.
    for (const route of this.#routes.filter((each) => each.settled && each.kinds.size === 0)) {
      this.#routes.splice(this.#routes.indexOf(route), 1);
      route.close();
    }
    this.pump();
    if (this.settled) this.#onSettled();
  }

  #find(kind: string): Adapter | undefined {
    return this.#adapters.find((adapter) => adapter.kind === kind);
  }

  #take(arrived: readonly Arrived[]): (((late: Uint8Array) => void) | null)[] {
    const held: { fd: number; cookie: bigint; listener: string }[] = [];
    const writers = arrived.map((each) => {
      try {
        const { socket, listener } = this.#serve(each);
        held.push({ fd: each.fd, cookie: native.cookie(each.fd), listener });
        this.#counts.taken += 1;
        return (late: Uint8Array) => {
          if (!socket.destroyed) socket.write(late);
        };
      } catch (error) {
        // Nobody else has it: the client sees it closed, and the counter says so.
        this.#counts.broken += 1;
        this.#complain(`a connection that came from another generation was closed: ${messageOf(error)}`);
        this.#tellSoon();
        return null;
      }
    });
    this.#channel?.took(held);
    return writers;
  }

  /** It is served, or closed when this throws. */
  #serve(arrived: Arrived): { readonly socket: Socket; readonly listener: string } {
    const adapter = this.#find(arrived.kind);
    let socket: Socket | undefined;
    try {
      if (adapter === undefined) throw new Error("nobody serves it any more");
      socket = adapter.adopt(arrived.fd);
      adapter.serve(socket, arrived);
      return { socket, listener: adapter.listener };
    } catch (error) {
      if (socket === undefined) native.close(arrived.fd);
      else socket.destroy();
      throw error;
    }
  }

  #tellSoon(): void {
    this.#report ??= setTimeout(() => this.#tell(), REPORT_MS);
    this.#report.unref();
  }

  #tell(): void {
    this.#report = undefined;
    const { given, returned, broken } = this.#counts;
    const failed = returned + broken;
    if (given === this.#told.given && failed === this.#told.failed) return;
    this.#channel?.moved(given - this.#told.given, failed - this.#told.failed);
    this.#told = { given, failed };
  }
}
