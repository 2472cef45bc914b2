/**
 * Where the processes come in that someone else starts: the handoff socket of one service, and the places that are awaited.
 *
 *   connect ─▶ who is it (SO_PEERCRED, SO_PEERPIDFD)? ─▶ what for (JOIN)? ─▶ a place that is awaited ─▶ its instance's
 *                 │ not by the rule: closed                                    │ none within PATIENCE_MS: FAIL
 *
 * A stranger gets nothing, no answer either, and one line in the log for all of them in a while. Whoever comes is its own
 * instance's to greet: no descriptor is sent from here.
 */
import { constants } from "node:os";
import { choosePlace, formatPlace, type Place, type PlaceWish } from "../../deploy/places.ts";
import { Channel } from "../../handoff/channel.ts";
import { messageOf } from "../../handoff/coded-error.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { closeForeign } from "../../handoff/foreign.ts";
import type { HandoffSocket } from "../../handoff/handoff-socket.ts";
import type { Joined } from "../../handoff/launch.ts";
import { failFrame } from "../../handoff/messages.ts";
import { native, type PeerCredentials } from "../../handoff/native.ts";
import { peerProcess } from "../../handoff/peer.ts";
import type { ExternalConfig } from "../config/config.ts";
import { doorClosed } from "../errors.ts";
import { Refusals } from "./refusals.ts";
import type { Surroundings } from "../surroundings.ts";

/** For a launcher to say what it wants. */
const REQUEST_MS = 5_000;
/** For a place to be awaited: its successor may come before the end of an instance is noticed. */
const PATIENCE_MS = 2_000;
/** After no connection could be accepted, for want of descriptors. */
const RETRY_MS = 1_000;
/** Of launchers that have no place yet. More than a deploy of the largest service starts at once. */
const MOST_WAITING = 2_048;

/** A process at the door. Channel and process are whoever's it is given to. */
export interface Arrival extends Joined {
  readonly uid: number;
  readonly gid: number;
}

interface Awaited extends Place {
  readonly give: (arrival: Arrival) => void;
  readonly fail: (error: unknown) => void;
}

interface Waiting {
  readonly wish: PlaceWish;
  readonly give: () => void;
}

export class Door {
  readonly #service: string;
  readonly #socket: HandoffSocket;
  readonly #say: Surroundings["say"];
  readonly #refusals: Refusals;
  readonly #awaited = new Set<Awaited>();
  readonly #waiting = new Set<Waiting>();
  #rule: ExternalConfig["allow"];
  #knocking = 0;
  #again: NodeJS.Timeout | undefined;

  /** The socket is the door's from here on. */
  constructor(
    service: string,
    socket: HandoffSocket,
    rule: ExternalConfig["allow"],
    say: Surroundings["say"],
  ) {
    this.#service = service;
    this.#socket = socket;
    this.#rule = rule;
    this.#say = say;
    this.#refusals = new Refusals((message) =>
      this.#say({ type: "external.refused", code: "EXTERNAL_REFUSED", service, message }, "warn"),
    );
  }

  get path(): string {
    return this.#socket.path;
  }

  /** For the next image; stays the door's. */
  get fd(): number {
    return this.#socket.fd;
  }

  /** From the next connection on. */
  set rule(rule: ExternalConfig["allow"]) {
    this.#rule = rule;
  }

  open(): void {
    this.#socket.accept(
      (connection) => {
        // One that fails here has nothing yet, and the others go on.
        this.#meet(connection).catch((error: unknown) => this.#refusals.add(messageOf(error)));
      },
      (error) => {
        this.#refusals.add(`${this.path} cannot be served: ${messageOf(error)}`);
        this.#again = setTimeout(() => this.open(), RETRY_MS);
        this.#again.unref();
      },
    );
  }

  /** Whoever comes waits in the socket's queue. */
  pause(): void {
    clearTimeout(this.#again);
    this.#socket.pause();
  }

  /** `removesPath` false: another door has the path by now. */
  close(removesPath = true): void {
    clearTimeout(this.#again);
    this.#socket.close(removesPath);
    this.#refusals.close();
    for (const { fail } of [...this.#awaited]) fail(doorClosed(this.#service));
  }

  /**
   * Resolves to the process that gets the place, or to null when none came within `patienceMs` (null: however long it takes).
   * Throws the signal's reason when that is aborted.
   */
  async wait(place: Place, patienceMs: number | null, signal: AbortSignal): Promise<Arrival | null> {
    signal.throwIfAborted();
    let timer: NodeJS.Timeout | undefined;
    let awaited: Awaited | undefined;
    let abort = (): void => undefined;
    try {
      return await new Promise<Arrival | null>((resolve, reject) => {
        awaited = { ...place, give: resolve, fail: reject };
        abort = () => reject(signal.reason as Error);
        signal.addEventListener("abort", abort, { once: true });
        if (patienceMs !== null) timer = setTimeout(() => resolve(null), patienceMs);
        this.#awaited.add(awaited);
        this.#review();
      });
    } finally {
      clearTimeout(timer);
      signal.removeEventListener("abort", abort);
      if (awaited !== undefined) this.#awaited.delete(awaited);
    }
  }

  /** Those that wait get what is awaited by now. */
  #review(): void {
    for (const waiting of [...this.#waiting]) {
      if (choosePlace(this.#awaited, waiting.wish) !== null) waiting.give();
    }
  }

  async #meet(connection: Descriptor): Promise<void> {
    using stranger = connection;
    const credentials = native.peerCredentials(stranger.fd);
    const { pid, uid, gid } = credentials;
    const who = `pid ${pid} (uid ${uid}, gid ${gid})`;
    if (!isAllowed(this.#rule, credentials)) {
      this.#refusals.add(
        `${who} connected to ${this.path} and is not meant by external.allow: it got nothing`,
      );
      return;
    }
    const process = this.#knocking < MOST_WAITING ? peerProcess(stranger.fd, credentials) : null;
    if (process === null) {
      this.#refusals.add(`${who} connected to ${this.path} and has ended, or cannot be seen from here`);
      return;
    }
    this.#knocking++;
    const channel = new Channel(new Descriptor(stranger.take()));
    try {
      const { message, descriptors } = await channel.receive("the request of a launcher", REQUEST_MS);
      await closeForeign(descriptors); // As long as that takes it counts as one that knocks.
      if (message.type !== "join") throw channel.violated(`a launcher's request was "${message.type}"`);
      await this.#place({ process, channel, uid, gid }, message);
    } catch (error) {
      channel.close();
      process.release();
      this.#refusals.add(`${who} got no sockets: ${messageOf(error)}`);
    } finally {
      this.#knocking--;
    }
  }

  /** Gives it away, or tells it why not. */
  async #place(arrival: Arrival, wish: PlaceWish): Promise<void> {
    const place = choosePlace(this.#awaited, wish) ?? (await this.#untilAwaited(arrival, wish));
    if (place === null) {
      const text = this.#nothingFor(wish);
      this.#refusals.add(`pid ${arrival.process.pid} was sent away: ${text}`);
      sendAway(arrival, text);
      return;
    }
    this.#awaited.delete(place);
    place.give(arrival);
  }

  #untilAwaited({ channel }: Arrival, wish: PlaceWish): Promise<Awaited | null> {
    return new Promise((resolve) => {
      const decide = (): void => {
        clearTimeout(timer);
        channel.unwatch();
        this.#waiting.delete(waiting);
        const place = channel.open ? choosePlace(this.#awaited, wish) : null;
        // Taken here and now: of several that wait each gets another one.
        if (place !== null) this.#awaited.delete(place);
        resolve(place);
      };
      const waiting: Waiting = { wish, give: decide };
      const timer = setTimeout(decide, PATIENCE_MS);
      this.#waiting.add(waiting);
      channel.watch(decide);
    });
  }

  #nothingFor({ generation, instance }: PlaceWish): string {
    const wanted =
      generation === null
        ? "an instance"
        : instance === null
          ? `an instance of generation ${generation}`
          : `instance ${formatPlace({ generation, instance })}`;
    const places = [...this.#awaited].map((place) => formatPlace(place));
    const instead = places.length === 0 ? "" : `; awaited: ${places.join(", ")}`;
    return `${this.#service} does not await ${wanted}${instead}; deploy first, or name the place that the deploy has`;
  }
}

/** The groups are those of the user database, and the one that the process had. */
function isAllowed({ uids, gids }: ExternalConfig["allow"], { uid, gid }: PeerCredentials): boolean {
  if (uids.includes(uid) || gids.includes(gid)) return true;
  if (gids.length === 0) return false;
  const user = native.lookupUser(uid);
  return user !== null && native.groupsOf(user.name, user.gid).some((group) => gids.includes(group));
}

/** Tells a process that has come why it gets nothing, and forgets it. Doing so twice is once. */
export function sendAway({ channel, process }: Joined, why: string): void {
  try {
    if (channel.open) channel.send(failFrame("join", constants.errno.EAGAIN, why));
  } catch {
    // It has gone by itself.
  }
  channel.close();
  process.release();
}
