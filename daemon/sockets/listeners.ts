/** Opens the configured listeners, or goes on with the slots that a keeper gave back. */
import { readdirSync, readFileSync } from "node:fs";
import { formatHostPort } from "../../handoff/address.ts";
import { hasCode } from "../../handoff/coded-error.ts";
import type { Descriptor } from "../../handoff/descriptor.ts";
import { openInherited, resumeInherited } from "../../handoff/inherited-listener.ts";
import { type Listener, type ListenerOptions, parseSlotName, slotName } from "../../handoff/listener.ts";
import { native, SO } from "../../handoff/native.ts";
import { parseNetworks } from "../../handoff/network.ts";
import type { Given } from "../../handoff/service-manager.ts";
import type { Share, Steering } from "../../handoff/steering.ts";
import { TcpListener } from "../../handoff/tcp-listener.ts";
import { AbstractListener, UnixListener } from "../../handoff/unix-listener.ts";
import { claimsOf } from "./claims.ts";
import type { Config, ListenerConfig } from "../config/config.ts";
import type { Marks } from "./marks.ts";
import {
  addressChanged,
  givenAtStartOnly,
  inheritedTwice,
  notInherited,
  notRemembered,
  slotsMissing,
} from "../errors.ts";
import type { LookForHolders } from "./holders.ts";
import { familyHolds, nameHolder } from "../proc.ts";
import { orders, type Places, type RescuedSlot } from "./rescue.ts";
import type { ServiceRecord } from "../state/snapshot.ts";
import type { Surroundings } from "../surroundings.ts";

/** What there is already; whatever is not used stays its owner's. */
interface Found {
  readonly kept: Map<string, Descriptor>;
  readonly sockets: readonly Given[];
  readonly rescued: ReadonlyMap<string, readonly RescuedSlot[]>;
  readonly holders: LookForHolders;
}

/**
 * Fills `listeners` in the order of the configuration. Slots that are used are taken out of `kept`. Throws a CodedError
 * (LISTENER_*); those opened before stay in `listeners`, for the caller to close. `sockets` are the service manager's, and `rescued`
 * came out of living instances.
 */
export async function openListeners(
  config: Pick<Config, "listeners" | "services">,
  records: ReadonlyMap<string, ServiceRecord | null>,
  { kept, sockets, rescued, holders }: Found,
  marks: Marks | null,
  listeners: Map<string, Listener>,
  surroundings: Surroundings,
): Promise<Places> {
  const places = new Map<string, ReadonlyMap<string, number>>();
  const exposed = interfacesWithRouteLocalnet();
  if (exposed.length > 0) {
    surroundings.log.warn(
      { interfaces: exposed },
      "route_localnet is on: a client outside the host could claim a pin address, so pins work only while verifying",
    );
  }
  const recordAbout = claimsOf(config, records);
  const isExposed = exposed.length > 0;
  for (const each of config.listeners) {
    const saved = rescued.get(each.name);
    if (saved !== undefined) {
      const { listener, place } = await resumeRescued(
        optionsOf(each, marks, surroundings, isExposed),
        each,
        saved,
        records,
      );
      listeners.set(each.name, listener);
      places.set(each.name, place);
      continue;
    }
    const record = recordAbout(each.name);
    const slots = await letGoIfMoved(each, takeSlots(each.name, kept), record, sockets, surroundings);
    await assertRemembered(each, slots, record, holders);
    const steering = steeringOf(each.name, slots.length, record);
    const options = optionsOf(each, marks, surroundings, isExposed);
    listeners.set(
      each.name,
      slots.length === 0 ? await open(options, each, sockets) : resume(options, each, slots, steering),
    );
  }
  return places;
}

const MOST_RESCUED = 4;

/** The members of the group in the order that the proofs confirm: an order that is wrong is seen before anything is changed for good. */
async function resumeRescued(
  options: ListenerOptions,
  config: ListenerConfig,
  saved: readonly RescuedSlot[],
  records: ReadonlyMap<string, ServiceRecord | null>,
): Promise<{ readonly listener: Listener; readonly place: ReadonlyMap<string, number> }> {
  const [first] = saved;
  if (first !== undefined) assertSameAddress(config, first.descriptor);
  const record = records.get(first?.service ?? "") ?? null;
  const tries =
    config.address.kind !== "unix" && saved.length <= MOST_RESCUED ? orders(saved) : [inPlace(saved)];
  for (const order of tries) {
    const present = order.flatMap((slot, index) => (slot === null ? [] : [{ slot, index }]));
    const place = new Map(present.map(({ slot, index }) => [nameOf(slot), index]));
    const steering = steeringOf(config.name, order.length, placedAt(record, config.name, place));
    const descriptors = order.map((slot) => slot?.descriptor ?? null);
    const listener = resume(options, config, descriptors, steering);
    for (const { slot, index } of present) {
      const own = listener.slots[index];
      if (own !== undefined) own.owner = nameOf(slot);
    }
    if (await isProved(listener, steering, present, record)) return { listener, place };
  }
  throw slotsMissing(config.name, saved.length);
}

function nameOf({ service, generation }: RescuedSlot): string {
  return `${service}/${generation}`;
}

/** Where a slot's index is in its path, and nothing has moved. */
function inPlace(saved: readonly RescuedSlot[]): readonly (RescuedSlot | null)[] {
  const length = 1 + Math.max(0, ...saved.map(({ index }) => index));
  return Array.from({ length }, (_, index) => saved.find((slot) => slot.index === index) ?? null);
}

/** The record as far as it is about this listener, with the indices that an order says. */
function placedAt(
  record: ServiceRecord | null,
  listener: string,
  place: ReadonlyMap<string, number>,
): ServiceRecord | null {
  if (record === null) return null;
  const generations = record.generations.flatMap((generation) => {
    const index = place.get(`${record.service}/${generation.number}`);
    return index === undefined ? [] : [{ ...generation, slots: { [listener]: index } }];
  });
  return { ...record, waiting: {}, generations };
}

async function isProved(
  listener: Listener,
  { shares, ...how }: Steering,
  present: readonly { readonly slot: RescuedSlot; readonly index: number }[],
  record: ServiceRecord | null,
): Promise<boolean> {
  try {
    listener.steer(shares, how);
    for (const { slot, index } of present) {
      const own = listener.slots[index];
      const generation = record?.generations.find(({ number }) => number === slot.generation);
      const pids = generation?.instances.flatMap(({ pid }) => (pid === null ? [] : [pid])) ?? [];
      if (own !== undefined) await listener.prove(own, (inode) => familyHolds(pids, inode));
    }
    return true;
  } catch (error) {
    if (hasCode(error, "LISTENER_SLOT_NOT_PROVED")) return false;
    throw error;
  }
}

/** Opens one more. Rejects with a CodedError (LISTENER_*), and then nothing is left open. */
export function openListener(
  config: ListenerConfig,
  marks: Marks | null,
  surroundings: Surroundings,
): Promise<Listener> {
  if (config.address.kind === "inherited") return Promise.reject(givenAtStartOnly(config.address.name));
  const isExposed = interfacesWithRouteLocalnet().length > 0;
  return open(optionsOf(config, marks, surroundings, isExposed), config, []);
}

/** `isExposed`: a packet from outside may bear a pin's address. */
function optionsOf(
  config: ListenerConfig,
  marks: Marks | null,
  surroundings: Surroundings,
  isExposed: boolean,
): ListenerOptions {
  return {
    name: config.name,
    address: config.address,
    backlog: config.backlog,
    mode: config.mode,
    gid: config.group === null ? null : native.lookupGroup(config.group),
    nextMark: marks === null ? null : () => marks.next(),
    keeper: surroundings.keeper,
    alwaysPinned: !isExposed,
    holderOf: nameHolder,
  };
}

function open(
  options: ListenerOptions,
  { address }: ListenerConfig,
  sockets: readonly Given[],
): Promise<Listener> {
  switch (address.kind) {
    case "tcp":
      return TcpListener.open(options, address);
    case "unix":
      return UnixListener.open(options, address.path);
    case "abstract":
      return AbstractListener.open(options, address.name);
    case "inherited":
      return openInherited(options, inherited(address.name, sockets));
  }
}

function resume(
  options: ListenerOptions,
  { address }: ListenerConfig,
  slots: readonly (Descriptor | null)[],
  { shares, ...more }: Steering,
): Listener {
  const present = slots.filter((slot) => slot !== null);
  switch (address.kind) {
    case "tcp":
      return TcpListener.resume(options, present, shares, more);
    case "unix":
      return UnixListener.resume(options, address.path, slots, shares);
    case "abstract": {
      const [slot] = present;
      if (slot === undefined) throw new Error("a listener without slots");
      return AbstractListener.resume(options, address.name, slot);
    }
    case "inherited":
      // The unit may have gone, or give another socket: the one in use is the one that was kept.
      return resumeInherited(options, present, { shares, ...more });
  }
}

/** The socket of that FileDescriptorName; a duplicate, which is the caller's. */
function inherited(name: string, sockets: readonly Given[]): Descriptor {
  const found = sockets.filter((socket) => socket.name === name);
  const [first] = found;
  if (first === undefined) {
    const names = [...new Set(sockets.map((socket) => socket.name))];
    throw notInherited(name, names);
  }
  if (found.length > 1) throw inheritedTwice(name, found.length);
  return first.descriptor.duplicate();
}

/** SO_MARK of every slot that was kept: its connections bear it, and no other's may. */
export function marksOf(kept: ReadonlyMap<string, Descriptor>): number[] {
  return [...kept].flatMap(([name, descriptor]) =>
    parseSlotName(name) === null ? [] : [native.getOption(descriptor.fd, SO.SOL_SOCKET, SO.SO_MARK)],
  );
}

/**
 * Slots that a stopped daemon has left with systemd, and that are not where the configuration wants them by now: nobody serves them any more, so
 * they are closed. All others are returned.
 */
async function letGoIfMoved(
  { name, address }: ListenerConfig,
  slots: readonly Descriptor[],
  record: ServiceRecord | null,
  sockets: readonly Given[],
  surroundings: Surroundings,
): Promise<readonly Descriptor[]> {
  const [first] = slots;
  const isServed = record?.generations.some(({ slots: own }) => own[name] !== undefined) ?? false;
  if (first === undefined || isServed || isAt(address, first, sockets)) return slots;
  // The last first, as ever: no member of the group moves into another one's place.
  const names = slots.map((_, index) => slotName(name, index)).reverse();
  for (const each of names) await surroundings.keeper().remove([each]);
  for (const slot of [...slots].reverse()) slot.close();
  return [];
}

/** Whether a kept slot is at the configured address, as far as that can be told. */
function isAt(address: ListenerConfig["address"], slot: Descriptor, sockets: readonly Given[]): boolean {
  if (address.kind === "inherited") {
    const given = sockets.find(({ name }) => name === address.name);
    return given === undefined || given.descriptor.inode() === slot.inode();
  }
  const held = native.localAddress(slot.fd);
  if (address.kind !== "tcp" || held.family === "unix")
    return address.kind !== "tcp" && held.family === "unix";
  return held.host === address.host && (address.port === 0 || held.port === address.port);
}

/**
 * Throws where going on would be to guess: the address was changed while no daemon ran, or a process serves the listener that
 * nothing written down knows of. Nothing has been touched then.
 */
async function assertRemembered(
  config: ListenerConfig,
  slots: readonly Descriptor[],
  record: ServiceRecord | null,
  look: LookForHolders,
): Promise<void> {
  const { name } = config;
  const [first] = slots;
  if (first === undefined) return;
  assertSameAddress(config, first);
  const isWeighted = record?.generations.some(
    ({ slots: own, weight }) => own[name] !== undefined && weight > 0,
  );
  if (isWeighted === true) return;
  const owned = new Set(
    record?.generations.flatMap(({ instances }) => instances.map(({ pid }) => pid)) ?? [],
  );
  const found = await look();
  const holders = slots.flatMap((slot) => found.get(slot.inode()) ?? []);
  const stranger = holders.find(({ pid }) => !owned.has(pid));
  if (stranger !== undefined) throw notRemembered(name, stranger.pid, stranger.command);
}

function assertSameAddress({ name, address }: ListenerConfig, slot: Descriptor): void {
  const held = native.localAddress(slot.fd);
  if (address.kind === "tcp" && held.family !== "unix" && !isAt(address, slot, [])) {
    throw addressChanged(name, formatHostPort(held), formatHostPort(address));
  }
}

/** The listener's slots in the order of their indices, taken out of `kept`. Throws when one is missing. */
function takeSlots(listener: string, kept: Map<string, Descriptor>): Descriptor[] {
  const found = [...kept].flatMap(([name, descriptor]) => {
    const slot = parseSlotName(name);
    return slot?.listener === listener ? [{ name, index: slot.index, descriptor }] : [];
  });
  found.sort((a, b) => a.index - b.index);
  if (found.some(({ index }, place) => index !== place)) throw slotsMissing(listener, found.length);
  for (const { name } of found) kept.delete(name);
  return found.map(({ descriptor }) => descriptor);
}

/** What the kernel's program does, as it was written down. */
function steeringOf(listener: string, slots: number, record: ServiceRecord | null): Steering {
  const generations = record?.generations ?? [];
  const pinned = generations.find(({ pinned, slots: own }) => pinned && own[listener] !== undefined);
  const candidate = generations.find(({ number }) => number === record?.candidate);
  const slot = pinned?.slots[listener];
  return {
    shares: sharesOf(listener, slots, record),
    sticky: candidate?.config.deploy.share === "sticky" ? candidate.number : null,
    guests:
      pinned === undefined || slot === undefined
        ? null
        : { slot, networks: parseNetworks(pinned.config.deploy.pin) },
  };
}

/**
 * What the kernel's program does, as it was written down. A weight is a generation's, and holds on the listeners that the newest
 * generation has: on one that it was started without, nothing has moved since (steer.ts). The newest first, as there.
 */
function sharesOf(listener: string, slots: number, record: ServiceRecord | null): Share[] {
  const generations = (record?.generations ?? []).toSorted((a, b) => b.number - a.number);
  const taken = new Set(generations.map(({ slots: own }) => own[listener]));
  const owners = generations.filter(
    ({ slots: own, state, weight }) =>
      (own[listener] ?? slots) < slots && (state !== "draining" || weight > 0),
  );
  const [only, another] = owners;
  const isLeftBehind =
    only?.hadUsers === true &&
    generations.some(({ number, config }) => number > only.number && !config.listeners.includes(listener));
  const weightOf = (weight: number): number => (another === undefined && isLeftBehind ? 1 : weight);
  const weighted = owners
    .map(({ slots: own, weight }) => ({ slot: own[listener] ?? 0, share: weightOf(weight) }))
    .filter(({ share }) => share > 0);
  const rest = 1 - weighted.reduce((sum, { share }) => sum + share, 0);
  if (another !== undefined && weighted.length > 0) return weighted;
  // Nobody's, with those who wait for a generation.
  const waiting = record?.waiting[listener];
  if (weighted.length === 0 && waiting !== undefined) return [{ slot: waiting, share: 1 }];
  const idle = Array.from({ length: slots }, (_, index) => index).find((index) => !taken.has(index)) ?? 0;
  return rest === 0 ? weighted : [...weighted, { slot: idle, share: rest }];
}

/** Interfaces on which a packet from outside may bear a source of 127.0.0.0/8 (ip-sysctl, route_localnet). */
function interfacesWithRouteLocalnet(): string[] {
  const root = "/proc/sys/net/ipv4/conf";
  return readdirSync(root).filter(
    (name) => readFileSync(`${root}/${name}/route_localnet`, "utf8").trim() === "1",
  );
}
