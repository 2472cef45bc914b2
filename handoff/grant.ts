/**
 * The handoff itself: descriptors to another process, each with its identity, acknowledged one by one.
 *
 *   daemon                                  launcher
 *     │── GRANT  names, identities, fds ──▶ │   takes ownership, compares each identity with its own reading
 *     │◀─ ACK    count, identities ──────── │   (or FAIL: nothing is started)
 *
 * A socket's identity is its cookie (SO_COOKIE: never reused while the network namespace lives), anything else's is
 * its inode number. Sending duplicates: the sender's descriptors stay the sender's.
 */
import { hasCode } from "./coded-error.ts";
import type { Channel } from "./channel.ts";
import { descriptorsLost, identityMismatch, launchFailed } from "./errors.ts";
import { errnoName } from "./errno.ts";
import { closeForeign } from "./foreign.ts";
import {
  DESCRIPTORS_PER_FRAME,
  ENTRY_OTHER,
  ENTRY_SOCKET,
  ENTRY_SPECIFICATION,
  grantFrame,
} from "./messages.ts";
import type { Entry } from "./messages.ts";
import { native } from "./native.ts";
import { fstatSync } from "node:fs";

/** A descriptor to hand over, under the name that the receiver finds in LISTEN_FDNAMES. It stays the caller's. */
export interface Offer {
  readonly name: string;
  readonly fd: number;
}

function identify(fd: number): { kind: number; identity: bigint } {
  try {
    return { kind: ENTRY_SOCKET, identity: native.cookie(fd) };
  } catch (error) {
    if (!hasCode(error, "ENOTSOCK")) throw error;
    return { kind: ENTRY_OTHER, identity: BigInt(fstatSync(fd).ino) };
  }
}

/**
 * Hands over the specification (a memfd) and the offers and waits for the acknowledgement. `deadlineMs` bounds the whole.
 * Throws a CodedError: LAUNCH_FAILED, HANDOFF_*.
 */
export async function grant(
  channel: Channel,
  specification: number,
  offers: readonly Offer[],
  deadlineMs: number,
): Promise<void> {
  const all: { entry: Entry; fd: number }[] = [
    {
      entry: { kind: ENTRY_SPECIFICATION, identity: BigInt(fstatSync(specification).ino), name: "" },
      fd: specification,
    },
    ...offers.map((offer) => ({ entry: { ...identify(offer.fd), name: offer.name }, fd: offer.fd })),
  ];
  for (let start = 0; start < all.length; start += DESCRIPTORS_PER_FRAME) {
    const part = all.slice(start, start + DESCRIPTORS_PER_FRAME);
    const more = start + part.length < all.length;
    channel.send(
      grantFrame(
        part.map(({ entry }) => entry),
        all.length,
        more,
      ),
      part.map(({ fd }) => fd),
    );
  }
  const { message, descriptors } = await channel.receive("the handoff of descriptors", deadlineMs);
  void closeForeign(descriptors);
  if (message.type === "fail")
    throw launchFailed(message.step, message.errno, errnoName(message.errno), message.text);
  if (message.type !== "ack" || descriptors.length > 0)
    throw channel.violated(`an answer to a grant was "${message.type}"`);
  if (message.count !== offers.length) throw descriptorsLost();
  if (message.identities.length !== message.count) {
    throw channel.violated(
      `an ACK counts ${message.count} descriptors and names ${message.identities.length}`,
    );
  }
  offers.forEach((offer, index) => {
    if (message.identities[index] !== all[index + 1]?.entry.identity) throw identityMismatch(offer.name);
  });
}
