/**
 * When the keeper has died together with the daemon, the slots are where their instances have them: a duplicate of each is taken out of
 * the living process (pidfd_getfd(2)). The process is known by pid and start time, the socket by its cookie, which the kernel gives
 * only once: a reused pid or another socket at the same number is never taken.
 *
 * Idle slots are gone with the two. A TCP group has closed the gaps by itself, in an order that only a proof tells.
 */
import { readdirSync, readlinkSync } from "node:fs";
import { hasCode } from "../../handoff/coded-error.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native } from "../../handoff/native.ts";
import { startTimeOf } from "../../handoff/process.ts";
import type { GenerationRecord } from "../generation/generation-record.ts";
import type { InstanceRecord } from "../generation/instance.ts";
import { hasEnded } from "../proc.ts";
import type { ServiceRecord } from "../state/snapshot.ts";

/** A slot of a living generation. Whoever takes it out of the rescue owns the descriptor. */
export interface RescuedSlot {
  readonly generation: number;
  readonly service: string;
  /** What its index was. */
  readonly index: number;
  readonly descriptor: Descriptor;
}

/** By listener: the index of each generation's slot, "api/3" → 1. */
export type Places = ReadonlyMap<string, ReadonlyMap<string, number>>;

/** By listener, in the order of their former indices. Empty where nothing lives. */
export function rescueSlots(records: Iterable<ServiceRecord | null>): Map<string, RescuedSlot[]> {
  const rescued = new Map<string, RescuedSlot[]>();
  for (const record of records) {
    for (const generation of record?.generations ?? []) {
      const wanted = new Map(
        Object.entries(generation.cookies).map(([name, cookie]) => [BigInt(cookie), name]),
      );
      for (const [listener, descriptor] of socketsFrom(generation.instances, wanted)) {
        const slots = rescued.get(listener) ?? [];
        const index = generation.slots[listener] ?? 0;
        slots.push({ service: record?.service ?? "", generation: generation.number, index, descriptor });
        rescued.set(listener, slots);
      }
    }
  }
  for (const slots of rescued.values()) slots.sort((a, b) => a.index - b.index);
  return rescued;
}

/** Whether any process that a record names still runs. */
export function anyLives(record: ServiceRecord | null): boolean {
  return (record?.generations ?? []).some(({ instances }) => instances.some((instance) => lives(instance)));
}

function lives({ pid, startTime }: InstanceRecord): boolean {
  return pid !== null && startTime !== null && startTimeOf(pid) === startTime && !hasEnded(pid);
}

/** The listening sockets with these cookies, by name: each once, of whichever instance has it. */
function socketsFrom(
  instances: readonly InstanceRecord[],
  wanted: ReadonlyMap<bigint, string>,
): Map<string, Descriptor> {
  const found = new Map<string, Descriptor>();
  for (const { pid, startTime } of instances) {
    if (pid === null || startTime === null || found.size === wanted.size) continue;
    const pidfd = open(pid);
    if (pidfd === null) continue;
    using _owned = pidfd;
    // Read after the pidfd is open: from here on the pid cannot change hands unseen.
    if (startTimeOf(pid) !== startTime) continue;
    for (const fd of socketNumbers(pid)) {
      if (found.size === wanted.size) break;
      const copy = duplicateFrom(pidfd, fd);
      const name = copy === null ? undefined : wanted.get(native.cookie(copy.fd));
      if (copy !== null && name !== undefined && !found.has(name)) found.set(name, copy);
      else copy?.close();
    }
  }
  return found;
}

function open(pid: number): Descriptor | null {
  try {
    return new Descriptor(native.pidfdOpen(pid));
  } catch (error) {
    if (hasCode(error, "ESRCH", "EINVAL")) return null;
    throw error;
  }
}

/** null when the process has closed it, or may not be looked into (ptrace(2), "access mode checking"). */
function duplicateFrom(pidfd: Descriptor, fd: number): Descriptor | null {
  try {
    return new Descriptor(native.pidfdGetfd(pidfd.fd, fd));
  } catch (error) {
    if (hasCode(error, "EBADF", "EPERM", "ESRCH")) return null;
    throw error;
  }
}

/** What a process was given comes first: its numbers are the lowest. */
function socketNumbers(pid: number): number[] {
  try {
    return readdirSync(`/proc/${pid}/fd`)
      .map(Number)
      .sort((a, b) => a - b)
      .filter((fd) => linkOf(pid, fd).startsWith("socket:"));
  } catch (error) {
    if (hasCode(error, "ENOENT", "ESRCH", "EACCES", "EPERM")) return [];
    throw error;
  }
}

function linkOf(pid: number, fd: number): string {
  try {
    return readlinkSync(`/proc/${pid}/fd/${fd}`);
  } catch {
    return ""; // Closed meanwhile.
  }
}

/**
 * The record with the indices that the slots have by now. A generation that lives and has none of them any more cannot get a
 * connection: it has no role from here on, and is drained. One that held a queue has no process to live in: it is forgotten, and
 * the hold, which stands, opens its slots again.
 */
export function withIndices(
  record: ServiceRecord,
  indexOf: (generation: GenerationRecord, listener: string) => number | null,
): ServiceRecord {
  const lives = record.generations.filter(
    (generation) =>
      generation.number !== record.hold?.to ||
      Object.keys(generation.slots).some((name) => indexOf(generation, name) !== null),
  );
  const generations = lives.map((generation): GenerationRecord => {
    const slots = Object.keys(generation.slots).flatMap((name) => {
      const index = indexOf(generation, name);
      return index === null ? [] : [[name, index] as const];
    });
    const isWhole = slots.length === Object.keys(generation.slots).length;
    const moved = { ...generation, slots: Object.fromEntries(slots) };
    return isWhole ? moved : { ...moved, state: "draining", weight: 0 };
  });
  const able = new Set(generations.filter(({ state }) => state !== "draining").map(({ number }) => number));
  const role = (number: number | null): number | null =>
    number !== null && able.has(number) ? number : null;
  const { current, candidate, previous } = record;
  return {
    ...record,
    // A slot that nobody had has died with those who held it.
    waiting: {},
    generations,
    current: role(current),
    candidate: role(candidate),
    previous: role(previous),
  };
}

/** Every record with the indices at which the slots were found. */
export function moved(
  records: ReadonlyMap<string, ServiceRecord | null>,
  places: Places,
): ReadonlyMap<string, ServiceRecord | null> {
  const indexOf = (generation: GenerationRecord, listener: string): number | null =>
    places.get(listener)?.get(`${generation.config.name}/${generation.number}`) ?? null;
  return new Map(
    [...records].map(([name, record]) => [name, record === null ? null : withIndices(record, indexOf)]),
  );
}

/** Orders in which the group may have its members: first the one that closing the idle ones by their numbers has left. */
export function* orders<T extends { readonly index: number }>(slots: readonly T[]): Generator<readonly T[]> {
  const highest = Math.max(-1, ...slots.map(({ index }) => index));
  const members: (T | null)[] = Array.from(
    { length: highest + 1 },
    (_, index) => slots.find((slot) => slot.index === index) ?? null,
  );
  for (let index = 0; index < members.length;) {
    // The last member moves into the place of one that is closed (net/core/sock_reuseport.c, reuseport_detach_sock).
    if (members[index] !== null) index++;
    else {
      const last = members.pop() ?? null;
      if (index < members.length) members[index] = last;
    }
  }
  const likely = members.filter((member) => member !== null);
  yield likely;
  for (const order of permutations(slots))
    if (order.some((slot, place) => slot !== likely[place])) yield order;
}

function* permutations<T>(items: readonly T[]): Generator<readonly T[]> {
  if (items.length < 2) yield items;
  else
    for (const [place, first] of items.entries())
      for (const rest of permutations(items.filter((_, other) => other !== place))) yield [first, ...rest];
}
