/**
 * Instances that someone else starts: who comes for them, and who is asked to start and to end them.
 *
 *   asked for (external.start) ─▶ awaited at the door ─▶ greeted like a launcher of our own ─▶ watched by its pidfd
 *   drained: external.stop, else drain.signal ─▶ SIGKILL at drain.timeout, as far as the daemon may
 *
 * Both commands may be run more than once for one instance (after the daemon's death, or an upgrade, nobody knows what became of the
 * first), so that they have to be such that twice is once, as systemctl's are.
 */
import { formatPlace } from "../../deploy/places.ts";
import { messageOf } from "../../handoff/coded-error.ts";
import { launch, launchFailure, type LaunchSpecification } from "../../handoff/launch.ts";
import type { Process } from "../../handoff/process.ts";
import { configuredEnvironment, directoryOf, ownEnvironment } from "../generation/account.ts";
import type { ServiceConfig } from "../config/config.ts";
import { fillCommand } from "../config/placeholders.ts";
import { type Arrival, sendAway } from "./door.ts";
import { endGroup, type Ended, pause } from "../generation/ending.ts";
import { doorClosed, externalNotCome, externalStartFailed } from "../errors.ts";
import { variablesOf } from "../generation/generation-record.ts";
import type { Surroundings } from "../surroundings.ts";

const LAUNCH_MS = 10_000;

/** Of one generation. */
export interface Member {
  readonly config: ServiceConfig;
  readonly number: number;
  readonly version: string | null;
}

export interface ArrivalOptions {
  /** Somebody waits for it, and not for ever. */
  readonly isDue: boolean;
  readonly signal: AbortSignal;
  readonly surroundings: Surroundings;
}

/**
 * Asks for the instance, where there is a command for that, and waits for its process. Throws EXTERNAL_*, and the signal's
 * reason when that is aborted: then nobody has come.
 */
export async function awaitArrival(
  member: Member,
  instance: number,
  { isDue, signal, surroundings }: ArrivalOptions,
): Promise<Arrival> {
  const { config, number } = member;
  const { external, ready, name } = config;
  const door = surroundings.doors.of(name);
  if (door === null) throw doorClosed(name);
  const place = { generation: number, instance };
  const who = `instance ${instance} of ${name}/${number}`;
  const how = `handoff-exec --socket ${door.path} --place ${formatPlace(place)} -- COMMAND`;
  surroundings.say({
    type: "instance.awaited",
    service: name,
    generation: number,
    instance,
    message: `${who} is started by someone else: ${how}`,
  });
  const start = external?.start ?? null;
  const asking = new AbortController();
  const either = AbortSignal.any([signal, asking.signal]);
  const coming = door.wait(place, isDue || start !== null ? ready.timeoutMs : null, either);
  const asked =
    start === null
      ? coming
      : ask(start, member, instance, ready.timeoutMs, signal, surroundings).then((failure) => {
          if (failure !== null) throw externalStartFailed(who, failure);
          return coming;
        });
  try {
    const arrival = await Promise.race([coming, asked]);
    if (arrival === null) throw externalNotCome(who, ready.timeoutMs, how, start !== null);
    // The command may go on; that it fails in the end changes nothing any more.
    asked.catch((error: unknown) => {
      if (!signal.aborted)
        surroundings.log.warn({ err: error, service: name }, "somebody has come all the same");
    });
    return arrival;
  } catch (error) {
    // Whoever has come in the same moment is sent away, or would wait for a grant for ever.
    coming.then(
      (late) => late !== null && sendAway(late, `${who} is not awaited any more`),
      () => undefined,
    );
    asking.abort(error);
    throw error;
  }
}

/** What such a process is told: the launcher adds it to what it has from whoever started it. Throws when environment_file cannot be read. */
export function externalSpecification(
  { config, version }: Member,
  extra: Readonly<Record<string, string>>,
): LaunchSpecification {
  return {
    command: [],
    environment: { ...configuredEnvironment(config), ...extra },
    directory: directoryOf(config, version),
    identity: null,
    umask: null,
    limits: [],
    nice: null,
    noNewPrivileges: false,
    keepChannel: true,
    deathSignal: null,
  };
}

/**
 * Ends an instance's process, whoever started it; `signal` null: it was told already. Returns when it has ended, which is as late as it
 * likes where the daemon may not kill it.
 */
export async function endInstance(
  member: Member,
  instance: number,
  process: Process,
  { signal, deadline, onKill, over }: EndOptions,
  surroundings: Surroundings,
): Promise<Ended> {
  if (!process.isForeign) return endGroup(process, signal, deadline, onKill, over);
  const stop = member.config.external?.stop ?? null;
  const signalIt = (): void => {
    if (signal === null || process.kill(signal) || process.exited) return;
    surroundings.say(notPermitted(member, instance, process.pid), "warn");
  };
  // Asked again where an earlier daemon has asked: what it was told is not known.
  let asked = Promise.resolve();
  if (stop === null) signalIt();
  else {
    asked = askToStop(member, instance, stop, deadline(), surroundings).then((failure) => {
      if (failure !== null) signalIt();
    });
  }
  const ended = await endGroup(process, null, deadline, onKill, over);
  await asked;
  return ended;
}

export interface EndOptions {
  readonly signal: NodeJS.Signals | null;
  /** Milliseconds since the epoch: the last moment before SIGKILL. */
  readonly deadline: () => number;
  readonly onKill: () => void;
  readonly over?: AbortSignal;
}

/** Nobody has come for the instance, and whoever was asked to start it may still be about to. */
export async function cancelStart(
  member: Member,
  instance: number,
  surroundings: Surroundings,
): Promise<void> {
  const { external, drain } = member.config;
  if (external?.stop == null) return;
  await askToStop(member, instance, external.stop, Date.now() + drain.timeoutMs, surroundings);
}

async function askToStop(
  member: Member,
  instance: number,
  stop: readonly string[],
  deadline: number,
  surroundings: Surroundings,
): Promise<string | null> {
  const left = Math.max(1, deadline - Date.now());
  const failure = await ask(stop, member, instance, left, new AbortController().signal, surroundings);
  if (failure === null) return null;
  const { config, number } = member;
  surroundings.say(
    {
      type: "external.stop-failed",
      code: "EXTERNAL_STOP_FAILED",
      service: config.name,
      generation: number,
      instance,
      message: `external.stop for instance ${instance} of ${config.name}/${number} ${failure}`,
    },
    "error",
  );
  return failure;
}

function notPermitted({ config: { name }, number }: Member, instance: number, pid: number) {
  return {
    type: "instance.not-told",
    code: "EXTERNAL_NOT_PERMITTED",
    service: name,
    generation: number,
    instance,
    message: `instance ${instance} of ${name}/${number} (pid ${pid}) is another user's and cannot be signalled: whoever started it has to end it; external.stop would ask for that`,
  };
}

/**
 * Runs a command to its end. Returns why it failed, in words that follow its name; null when it did not. What it starts may go on
 * in its process group, so that only the command itself is ended when its time is over or the signal aborted.
 */
async function ask(
  command: readonly string[],
  member: Member,
  instance: number,
  timeoutMs: number,
  signal: AbortSignal,
  surroundings: Surroundings,
): Promise<string | null> {
  const { config, number, version } = member;
  return run(
    {
      ...externalSpecification(member, {}),
      command: fillCommand(command, { service: config.name, generation: number, version, instance }),
      environment: {
        ...ownEnvironment(),
        ...variablesOf(member),
        HANDOFF_INSTANCE: String(instance),
      },
      directory: null,
      keepChannel: false,
    },
    surroundings.devNull,
    timeoutMs,
    signal,
  );
}

async function run(
  specification: LaunchSpecification,
  devNull: number,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<string | null> {
  let launched;
  try {
    // Its output is the daemon's. A pipe would end what it starts together with the daemon, a file would grow.
    launched = await launch(specification, [], [devNull, 1, 2], LAUNCH_MS);
  } catch (error) {
    return `could not be run: ${messageOf(error)}`;
  }
  using channel = launched.channel;
  const { process } = launched;
  const over = new AbortController();
  try {
    const late = pause(timeoutMs, AbortSignal.any([signal, over.signal]));
    const isLate = await Promise.race([process.exit().then(() => false), late.then(() => true)]);
    if (isLate) process.kill("SIGKILL");
    const status = await process.exit();
    const failure = launchFailure(channel);
    if (failure !== null) return `could not be run: ${failure.message}`;
    if (isLate) return `had not ended after ${timeoutMs} ms and was killed; it should ask for it, and return`;
    if (status.code === 0) return null;
    const how = status.code === null ? `was ended by signal ${status.signal}` : `failed with ${status.code}`;
    return `${how}; what it said is in the daemon's output`;
  } finally {
    over.abort();
    process.release();
  }
}
