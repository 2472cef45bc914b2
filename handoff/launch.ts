/**
 * Starts a process with descriptors, by way of `handoff-exec` (docs/wire.md): spawn, grant, acknowledgement. One mechanism for
 * instances, verification commands and acceptors.
 */
import { writeSync } from "node:fs";
import { constants } from "node:os";
import { Channel } from "./channel.ts";
import { Descriptor } from "./descriptor.ts";
import type { CodedError } from "./coded-error.ts";
import { launchFailed } from "./errors.ts";
import { errnoName } from "./errno.ts";
import { encodeFields, type Field, textField, u32Field } from "./frame.ts";
import { grant, type Offer } from "./grant.ts";
import type { Fail } from "./messages.ts";
import { companion, native } from "./native.ts";
import { Process } from "./process.ts";

export interface Identity {
  readonly uid: number;
  readonly gid: number;
  readonly groups: readonly number[];
}

export interface ResourceLimit {
  /** RLIMIT_* by its number (<bits/resource.h>). */
  readonly resource: number;
  /** null is infinity. */
  readonly soft: number | null;
  readonly hard: number | null;
}

export interface LaunchSpecification {
  readonly command: readonly string[];
  /** The whole environment. LISTEN_FDS, LISTEN_FDNAMES, LISTEN_PID and HANDOFF_FD are added by the launcher. */
  readonly environment: Readonly<Record<string, string>>;
  readonly directory: string | null;
  /** null: the daemon's own. */
  readonly identity: Identity | null;
  readonly umask: number | null;
  readonly limits: readonly ResourceLimit[];
  readonly nice: number | null;
  readonly noNewPrivileges: boolean;
  /** Whether the channel stays open in the program, as HANDOFF_FD. */
  readonly keepChannel: boolean;
  /**
   * What the process gets when the daemon ends (PR_SET_PDEATHSIG); null: nothing. For helpers only: an instance outlives the
   * daemon. The channel must stay open until the program runs or has ended: that it is closed means that the daemon is gone.
   * A program that gains privileges by its exec (set-uid) does not get the signal.
   */
  readonly deathSignal: NodeJS.Signals | null;
}

/** Standard input, output and error of the child. They stay the caller's. */
export type StandardDescriptors = readonly [number, number, number];

export interface Launched {
  readonly process: Process;
  /** What the launcher has still to say when it fails after the acknowledgement. The caller closes it. */
  readonly channel: Channel;
}

const KEY = {
  argument: 32,
  environment: 33,
  directory: 34,
  uid: 35,
  gid: 36,
  group: 37,
  umask: 38,
  limit: 39,
  nice: 40,
  noNewPrivileges: 41,
  channel: 42,
  deathSignal: 43,
} as const;

const EMPTY = new Uint8Array(0);
const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;

/** The specification's bytes. Pure. */
export function encodeSpecification(specification: LaunchSpecification): Uint8Array {
  const fields: Field[] = [
    ...specification.command.map((argument) => textField(KEY.argument, argument)),
    ...Object.entries(specification.environment).map(([name, value]) =>
      textField(KEY.environment, `${name}=${value}`),
    ),
  ];
  if (specification.directory !== null) fields.push(textField(KEY.directory, specification.directory));
  if (specification.identity !== null) {
    fields.push(u32Field(KEY.uid, specification.identity.uid), u32Field(KEY.gid, specification.identity.gid));
    fields.push(...specification.identity.groups.map((group) => u32Field(KEY.group, group)));
  }
  if (specification.umask !== null) fields.push(u32Field(KEY.umask, specification.umask));
  fields.push(...specification.limits.map((limit) => limitField(limit)));
  if (specification.nice !== null) fields.push(u32Field(KEY.nice, specification.nice));
  if (specification.noNewPrivileges) fields.push({ key: KEY.noNewPrivileges, value: EMPTY });
  if (specification.keepChannel) fields.push({ key: KEY.channel, value: EMPTY });
  if (specification.deathSignal !== null) {
    fields.push(u32Field(KEY.deathSignal, constants.signals[specification.deathSignal]));
  }
  return encodeFields(fields);
}

function limitField(limit: ResourceLimit): Field {
  const value = new Uint8Array(20);
  const view = new DataView(value.buffer);
  view.setUint32(0, limit.resource, true);
  view.setBigUint64(4, limit.soft === null ? RLIM_INFINITY : BigInt(limit.soft), true);
  view.setBigUint64(12, limit.hard === null ? RLIM_INFINITY : BigInt(limit.hard), true);
  return { key: KEY.limit, value };
}

/**
 * Starts the process and hands it the offers. Returns when the launcher has acknowledged each descriptor; whether its exec
 * works is known later: the process then ends and `launchFailure` says why. On a failure here nothing is left running.
 *
 * `onSpawned` is called before the launcher is told what to run: if the caller dies before it has written the pid down, the
 * launcher finds its channel closed and ends.
 */
export async function launch(
  specification: LaunchSpecification,
  offers: readonly Offer[],
  standard: StandardDescriptors,
  deadlineMs: number,
  onSpawned: (process: Process) => void = () => undefined,
): Promise<Launched> {
  using memory = memoryOf(specification);
  const [ours, theirs] = native.seqpacketPair().map((fd) => new Descriptor(fd)) as [Descriptor, Descriptor];
  using child = theirs;
  const channel = new Channel(ours);
  let process: Process | null = null;
  try {
    process = Process.spawn(companion("handoff-exec"), ["handoff-exec"], [], [...standard, child.fd]);
    child.close();
    onSpawned(process);
    await grant(channel, memory.fd, offers, deadlineMs);
    return { process, channel };
  } catch (error) {
    channel.close();
    process?.kill("SIGKILL");
    process?.abandon();
    throw error;
  }
}

/** A launcher that someone else has started and that asks for its grant. */
export interface Joined {
  readonly process: Process;
  readonly channel: Channel;
}

/** The same for a launcher that has asked: it has its command already. On a failure both stay the caller's. */
export async function welcome(
  { process, channel }: Joined,
  specification: LaunchSpecification,
  offers: readonly Offer[],
  deadlineMs: number,
  onKnown: (process: Process) => void,
): Promise<Launched> {
  using memory = memoryOf({ ...specification, command: [] });
  onKnown(process);
  await grant(channel, memory.fd, offers, deadlineMs);
  return { process, channel };
}

/** Owned by the caller. */
function memoryOf(specification: LaunchSpecification): Descriptor {
  const memory = new Descriptor(native.memfd("handoff-specification"));
  try {
    writeAll(memory.fd, encodeSpecification(specification));
    return memory;
  } catch (error) {
    memory.close();
    throw error;
  }
}

/** What the launcher said when it failed after the acknowledgement; null when it said nothing. Closes nothing. */
export function launchFailure(channel: Channel): Error | null {
  try {
    const pending = channel.takePending();
    if (pending === null) return null;
    for (const descriptor of pending.descriptors) descriptor.close();
    const { message } = pending;
    return message.type === "fail" ? launchFailureOf(message) : null;
  } catch {
    return null; // The channel's end of file: the process said nothing, its exit status is all there is.
  }
}

export function launchFailureOf({ step, errno, text }: Fail): CodedError {
  return launchFailed(step, errno, errnoName(errno), text);
}

function writeAll(fd: number, bytes: Uint8Array): void {
  for (let offset = 0; offset < bytes.length;)
    offset += writeSync(fd, bytes, offset, bytes.length - offset, offset);
}
