/**
 * What a running program and the daemon say to each other on the program's channel (HANDOFF_FD; docs/wire.md). It outlives the daemon,
 * in the keeper; what is said while no daemon runs waits in it.
 *
 *   program ── HELLO, WANT, TOOK, MOVED ─▶ daemon        whenever it likes, within reason
 *   program ◀─ ROUTE with one end of a pair ── daemon    and nothing else
 *
 * Nothing depends on it but where connections go: a program that breaks the protocol, says too much, or does not read, loses the
 * channel and is served on.
 */
import { Allowance } from "../../handoff/allowance.ts";
import type { Channel, Received } from "../../handoff/channel.ts";
import type { CodedError } from "../../handoff/coded-error.ts";
import { closeForeign } from "../../handoff/foreign.ts";
import { launchFailureOf } from "../../handoff/launch.ts";
import type { Said } from "../../handoff/messages.ts";

/** A TOOK of 256 connections whose listener has the longest name is 22 KiB. */
const LONGEST_MESSAGE = 32 * 1024;
/** Of the costs below: two hundred thousand connections that move at once, and then as many as the daemon accounts for without effort. */
const BURST = 200_000;
const PER_SECOND = 20_000;
/** What is written down or answered costs more than what is counted. */
const COST_OF_RECORD = 2_000;

/** As the snapshot has it: what a program has said that it does not say again to the next daemon. */
export interface SaidRecord {
  /** What it can take; empty: it has said nothing. */
  readonly kinds: readonly string[];
  /** It has asked for a way and has none yet. */
  readonly wants: boolean;
  /** Of its connections, how many others have taken and how many nobody has, by its own word. */
  readonly moved: number;
  readonly failed: number;
}

export const SAID_NOTHING: SaidRecord = { kinds: [], wants: false, moved: 0, failed: 0 };

export interface ProgramHooks {
  /** The record has it already. */
  readonly onSaid: (said: Said) => void;
  /** It has broken the protocol, and the channel is closed. */
  readonly onViolation: (why: CodedError) => void;
}

export class ProgramChannel {
  readonly #channel: Channel;
  readonly #hooks: ProgramHooks;
  readonly #allowance: Allowance;
  readonly #now: () => number;
  #record: SaidRecord;
  #failure: CodedError | null = null;
  /** It may not have failed to start any more. */
  #hasSpoken: boolean;

  /** Takes ownership of the channel. `now`: milliseconds of a clock that is never set back. */
  constructor(
    channel: Channel,
    record: SaidRecord,
    hooks: ProgramHooks,
    now: () => number = () => performance.now(),
  ) {
    this.#channel = channel;
    this.#record = record;
    this.#hooks = hooks;
    this.#now = now;
    this.#hasSpoken = record.kinds.length > 0;
    this.#allowance = new Allowance(BURST, PER_SECOND, now());
    this.listen();
  }

  /** Whether the program can be told anything. One that has closed its end does not say so: it is found out. */
  get open(): boolean {
    return this.#channel.open;
  }

  /** For the keeper and for the daemon's next image; stays the channel's. */
  get fd(): number {
    return this.#channel.fd;
  }

  get record(): SaidRecord {
    return this.#record;
  }

  listen(): void {
    this.#channel.listen(
      (received) => this.#hear(received),
      LONGEST_MESSAGE,
      (why) => {
        // One that closes its end, or has ended, is within its rights.
        if (why.code !== "HANDOFF_PEER_GONE") this.#hooks.onViolation(why);
      },
    );
  }

  /** Whatever is said waits for the next image, or for `listen`. */
  pause(): void {
    this.#channel.pause();
  }

  /** It has a way now. */
  answered(): void {
    this.#record = { ...this.#record, wants: false };
  }

  /** Sends a frame with a duplicate of `fd`, which stays the caller's. false when it cannot be told. */
  tell(frame: Uint8Array, fd: number): boolean {
    if (!this.open) return false;
    try {
      this.#channel.send(frame, [fd]);
      return true;
    } catch {
      // It has gone, or does not read: the channel is closed then. Or no descriptor can be in flight (ETOOMANYREFS): it is not told.
      return false;
    }
  }

  /** Hears what is there already: what was said before something else that is known by now. Never waits. */
  catchUp(): void {
    this.#channel.catchUp();
  }

  /** Its process has ended: hears what it had still to say, and closes the channel. Why it could not be run; null: it ran. */
  end(): CodedError | null {
    this.listen();
    this.catchUp();
    this.#channel.close();
    return this.#failure;
  }

  close(): void {
    this.#channel.close();
  }

  #hear({ message, descriptors }: Received): void {
    // At most one message's: it breaks the protocol.
    void closeForeign(descriptors);
    const isFirst = !this.#hasSpoken;
    this.#hasSpoken = true;
    if (message.type === "fail" && isFirst && descriptors.length === 0) {
      // The launcher's: the program has never run.
      this.#failure = launchFailureOf(message);
      return;
    }
    if (
      message.type === "fail" ||
      message.type === "ack" ||
      message.type === "join" ||
      message.type === "ok" ||
      message.type === "items"
    ) {
      this.#channel.violated(`a program said "${message.type}"`);
    } else if (descriptors.length > 0) {
      this.#channel.violated("a program sent descriptors");
    } else if (!this.#allowance.take(costOf(message), this.#now())) {
      this.#channel.violated("a program said too much in too short a time");
    } else {
      this.#note(message);
      this.#hooks.onSaid(message);
    }
  }

  #note(said: Said): void {
    const { moved, failed } = this.#record;
    switch (said.type) {
      case "hello":
        this.#record = { ...this.#record, kinds: said.kinds };
        return;
      case "want":
        this.#record = { ...this.#record, wants: true };
        return;
      case "moved":
        this.#record = { ...this.#record, moved: moved + said.taken, failed: failed + said.failed };
        return;
      case "took":
    }
  }
}

function costOf(said: Said): number {
  switch (said.type) {
    case "hello":
    case "want":
      return COST_OF_RECORD;
    case "took":
      return 1 + said.held.length;
    case "moved":
      return 1;
  }
}
