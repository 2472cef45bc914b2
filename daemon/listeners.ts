/** Opens the configured listeners, or goes on with the slots that a keeper gave back. */
import { readdirSync, readFileSync } from "node:fs";
import { formatHostPort } from "../handoff/address.ts";
import { hasCode } from "../handoff/coded-error.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import { type Listener, type ListenerOptions, parseSlotName } from "../handoff/listener.ts";
import { native, SO } from "../handoff/native.ts";
import type { Share } from "../handoff/steering.ts";
import { TcpListener } from "../handoff/tcp-listener.ts";
import { AbstractListener, UnixListener } from "../handoff/unix-listener.ts";
import type { Config, ListenerConfig } from "./config/config.ts";
import type { Marks } from "./marks.ts";
import { addressChanged, notRemembered, slotsMissing } from "./errors.ts";
import { familyHolds, holdersOf, nameHolder } from "./proc.ts";
import { orders, type Places, type RescuedSlot } from "./rescue.ts";
import type { ServiceRecord } from "./snapshot.ts";
import type { Surroundings } from "./surroundings.ts";

/**
 * Fills `listeners` in the order of the configuration. Slots that are used are taken out of `kept`. Throws a CodedError
 * (LISTENER_*); those opened before stay in `listeners`, for the caller to close. `rescued` has what came out of living instances.
 */
export async function openListeners(
  config: Config,
  records: ReadonlyMap<string, ServiceRecord | null>,
  kept: Map<string, Descriptor>,
  marks: Marks | null,
  listeners: Map<string, Listener>,
  surroundings: Surroundings,
  rescued: ReadonlyMap<string, readonly RescuedSlot[]>,
): Promise<Places> {
  const places = new Map<string, ReadonlyMap<string, number>>();
  const exposed = interfacesWithRouteLocalnet();
  if (exposed.length > 0) {
    surroundings.log.warn(
      { interfaces: exposed },
      "route_localnet is on: a client outside the host could claim a pin address, so pins work only while verifying",
    );
  }
  for (const each of config.listeners) {
    const options: ListenerOptions = {
      name: each.name,
      address: each.address,
      backlog: each.backlog,
      mode: each.mode,
      gid: each.group === null ? null : native.lookupGroup(each.group),
      nextMark: marks === null ? null : () => marks.next(),
      keeper: surroundings.keeper,
      alwaysPinned: exposed.length === 0,
      holderOf: nameHolder,
    };
    const saved = rescued.get(each.name);
    if (saved !== undefined) {
      const { listener, place } = await resumeRescued(options, each, saved, records);
      listeners.set(each.name, listener);
      places.set(each.name, place);
      continue;
    }
    const slots = takeSlots(each.name, kept);
    const service = config.services.find(({ listeners: names }) => names.includes(each.name));
    const record = service === undefined ? null : (records.get(service.name) ?? null);
    await assertRemembered(each, slots, record, surroundings);
    const shares = sharesOf(each.name, slots.length, record);
    listeners.set(
      each.name,
      slots.length === 0 ? await open(options, each) : resume(options, each, slots, shares),
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
  const ofSlot = ({ service, generation }: RescuedSlot) =>
    records.get(service)?.generations.find(({ number }) => number === generation);
  const tries =
    config.address.kind === "tcp" && saved.length <= MOST_RESCUED ? orders(saved) : [inPlace(saved)];
  for (const order of tries) {
    const present = order.flatMap((slot, index) => (slot === null ? [] : [{ slot, index }]));
    const weighted = present.map(({ slot, index }) => ({ slot: index, share: ofSlot(slot)?.weight ?? 0 }));
    const shares = weighted.filter(({ share }) => share > 0);
    const all: readonly Share[] = shares.length > 0 ? shares : [{ slot: 0, share: 1 }];
    const listener = resume(
      options,
      config,
      order.map((slot) => slot?.descriptor ?? null),
      all,
    );
    for (const { slot, index } of present) {
      const own = listener.slots[index];
      if (own !== undefined) own.owner = nameOf(slot);
    }
    if (!(await isProved(listener, all, present, ofSlot))) continue;
    return { listener, place: new Map(present.map(({ slot, index }) => [nameOf(slot), index])) };
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

async function isProved(
  listener: Listener,
  shares: readonly Share[],
  present: readonly { readonly slot: RescuedSlot; readonly index: number }[],
  ofSlot: (slot: RescuedSlot) => ServiceRecord["generations"][number] | undefined,
): Promise<boolean> {
  try {
    listener.steer(shares);
    for (const { slot, index } of present) {
      const own = listener.slots[index];
      const pids = ofSlot(slot)?.instances.flatMap(({ pid }) => (pid === null ? [] : [pid])) ?? [];
      if (own !== undefined) await listener.prove(own, (inode) => familyHolds(pids, inode));
    }
    return true;
  } catch (error) {
    if (hasCode(error, "LISTENER_SLOT_NOT_PROVED")) return false;
    throw error;
  }
}

function open(options: ListenerOptions, { address }: ListenerConfig): Promise<Listener> {
  switch (address.kind) {
    case "tcp":
      return TcpListener.open(options, address);
    case "unix":
      return UnixListener.open(options, address.path);
    case "abstract":
      return AbstractListener.open(options, address.name);
    case "inherited":
      throw new Error("inherited addresses are refused by the configuration");
  }
}

function resume(
  options: ListenerOptions,
  { address }: ListenerConfig,
  slots: readonly (Descriptor | null)[],
  shares: readonly Share[],
): Listener {
  switch (address.kind) {
    case "tcp":
      return TcpListener.resume(
        options,
        slots.filter((slot) => slot !== null),
        shares,
      );
    case "unix":
      return UnixListener.resume(options, address.path, slots, shares);
    case "abstract": {
      const [slot = null] = slots;
      if (slot === null) throw new Error("a listener without slots");
      return AbstractListener.resume(options, address.name, slot);
    }
    case "inherited":
      throw new Error("inherited addresses are refused by the configuration");
  }
}

/** SO_MARK of every slot that was kept: its connections bear it, and no other's may. */
export function marksOf(kept: ReadonlyMap<string, Descriptor>): number[] {
  return [...kept].flatMap(([name, descriptor]) =>
    parseSlotName(name) === null ? [] : [native.getOption(descriptor.fd, SO.SOL_SOCKET, SO.SO_MARK)],
  );
}

/**
 * Throws where going on would be to guess: the address was changed while no daemon ran, or a process serves the listener that
 * nothing written down knows of. Nothing has been touched then.
 */
async function assertRemembered(
  config: ListenerConfig,
  slots: readonly Descriptor[],
  record: ServiceRecord | null,
  surroundings: Surroundings,
): Promise<void> {
  const { name } = config;
  const [first] = slots;
  if (first === undefined) return;
  assertSameAddress(config, first);
  const isWeighted = record?.generations.some(
    ({ slots: own, weight }) => own[name] !== undefined && weight > 0,
  );
  if (isWeighted === true) return;
  const inodes = new Set(slots.map((slot) => slot.inode()));
  const owned = new Set(
    record?.generations.flatMap(({ instances }) => instances.map(({ pid }) => pid)) ?? [],
  );
  const holders = [...(await holdersOf(inodes, surroundings.keepers())).values()].flat();
  const stranger = holders.find(({ pid }) => !owned.has(pid));
  if (stranger !== undefined) throw notRemembered(name, stranger.pid, stranger.command);
}

function assertSameAddress({ name, address }: ListenerConfig, slot: Descriptor): void {
  const held = native.localAddress(slot.fd);
  if (address.kind !== "tcp" || held.family === "unix") return;
  const isSame = held.host === address.host && (address.port === 0 || held.port === address.port);
  if (!isSame) throw addressChanged(name, formatHostPort(held), formatHostPort(address));
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

/** What the kernel's program does, as it was written down: the generations' weights, else all to the first idle slot. */
function sharesOf(listener: string, slots: number, record: ServiceRecord | null | undefined): Share[] {
  const generations = record?.generations ?? [];
  const owned = generations.flatMap(({ slots: own, weight }) => {
    const slot = own[listener];
    return slot === undefined || slot >= slots ? [] : [{ slot, share: weight }];
  });
  const weighted = owned.filter(({ share }) => share > 0);
  if (weighted.length > 0) return weighted;
  const idle = Array.from({ length: slots }, (_, index) => index).find(
    (index) => !owned.some(({ slot }) => slot === index),
  );
  return [{ slot: idle ?? 0, share: 1 }];
}

/** Interfaces on which a packet from outside may bear a source of 127.0.0.0/8 (ip-sysctl, route_localnet). */
function interfacesWithRouteLocalnet(): string[] {
  const root = "/proc/sys/net/ipv4/conf";
  return readdirSync(root).filter(
    (name) => readFileSync(`${root}/${name}/route_localnet`, "utf8").trim() === "1",
  );
}
