/** Opens the configured listeners, or goes on with the slots that a keeper gave back. */
import { readdirSync, readFileSync } from "node:fs";
import { formatHostPort } from "../handoff/address.ts";
import type { Descriptor } from "../handoff/descriptor.ts";
import { openInherited, resumeInherited } from "../handoff/inherited-listener.ts";
import { type Listener, type ListenerOptions, parseSlotName, slotName } from "../handoff/listener.ts";
import { native, SO } from "../handoff/native.ts";
import type { Given } from "../handoff/service-manager.ts";
import type { Share } from "../handoff/steering.ts";
import { TcpListener } from "../handoff/tcp-listener.ts";
import { AbstractListener, UnixListener } from "../handoff/unix-listener.ts";
import type { Config, ListenerConfig } from "./config/config.ts";
import type { Marks } from "./marks.ts";
import { addressChanged, inheritedTwice, notInherited, notRemembered, slotsMissing } from "./errors.ts";
import { holdersOf, nameHolder } from "./proc.ts";
import type { ServiceRecord } from "./snapshot.ts";
import type { Surroundings } from "./surroundings.ts";

/**
 * Fills `listeners` in the order of the configuration. Slots that are used are taken out of `kept`. Throws a CodedError
 * (LISTENER_*); those opened before stay in `listeners`, for the caller to close.
 */
export async function openListeners(
  config: Config,
  records: ReadonlyMap<string, ServiceRecord | null>,
  { kept, sockets }: { readonly kept: Map<string, Descriptor>; readonly sockets: readonly Given[] },
  marks: Marks | null,
  listeners: Map<string, Listener>,
  surroundings: Surroundings,
): Promise<void> {
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
    const service = config.services.find(({ listeners: names }) => names.includes(each.name));
    const record = service === undefined ? null : (records.get(service.name) ?? null);
    const slots = await letGoIfMoved(each, takeSlots(each.name, kept), record, sockets, surroundings);
    await assertRemembered(each, slots, record, surroundings);
    const shares = sharesOf(each.name, slots.length, record);
    listeners.set(
      each.name,
      slots.length === 0 ? await open(options, each, sockets) : resume(options, each, slots, shares),
    );
  }
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
  slots: readonly Descriptor[],
  shares: readonly Share[],
): Listener {
  switch (address.kind) {
    case "tcp":
      return TcpListener.resume(options, slots, shares);
    case "unix":
      return UnixListener.resume(options, address.path, slots, shares);
    case "abstract": {
      const [slot] = slots;
      if (slot === undefined) throw new Error("a listener without slots");
      return AbstractListener.resume(options, address.name, slot);
    }
    case "inherited":
      // The unit may have gone, or give another socket: the one in use is the one that was kept.
      return resumeInherited(options, slots, shares);
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
  { name, address }: ListenerConfig,
  slots: readonly Descriptor[],
  record: ServiceRecord | null,
  surroundings: Surroundings,
): Promise<void> {
  const [first] = slots;
  if (first === undefined) return;
  const held = native.localAddress(first.fd);
  if (address.kind === "tcp" && held.family !== "unix" && !isAt(address, first, [])) {
    throw addressChanged(name, formatHostPort(held), formatHostPort(address));
  }
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
