/** The composition root: from arguments to a running daemon, and from a signal to its end. */
import { mkdirSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pino, type Logger } from "pino";
import { peerOf } from "../admin-api/access.ts";
import type { Diagnosis } from "../admin-api/schemas.ts";
import { CodedError, messageOf } from "../handoff/coded-error.ts";
import { Descriptor } from "../handoff/descriptor.ts";
import { sortGiven } from "../handoff/fdstore.ts";
import { late } from "../handoff/late.ts";
import { native } from "../handoff/native.ts";
import { takeGiven } from "../handoff/service-manager.ts";
import { packageVersion } from "../handoff/version.ts";
import { AdminAccess } from "./api/admin-access.ts";
import { forgetAdminSockets, openAdminSockets, storedAdminSockets } from "./api/admin-sockets.ts";
import type { Beginning } from "./upgrade/beginning.ts";
import { configFromArguments } from "./config/arguments.ts";
import type { Config } from "./config/config.ts";
import { loadConfig } from "./config/load.ts";
import { DEFAULT_CONFIG_FILE, privateDirectory } from "./directories.ts";
import { examineHost } from "./doctor/examine.ts";
import { anotherDaemon, cannotPrepare } from "./errors.ts";
import { reach } from "./fault.ts";
import { Front, loadServer } from "./api/front.ts";
import { DaemonOperations } from "./api/operations.ts";
import { StartedProgram } from "./upgrade/program.ts";
import { Supervisor } from "./supervisor.ts";
import { ServiceManager, statusLine } from "./systemd.ts";
import { Upgrade } from "./upgrade/upgrade.ts";
import { bodyOf } from "./upgrade/upgrade-body.ts";
import { Inheritance } from "./upgrade/upgrade-state.ts";
import { assertCanGoOn, canGoOn } from "./upgrade/upgrade-trial.ts";

export interface RunOptions {
  readonly configFile?: string;
  /** Without a file: `NAME=ADDRESS` each, and what to run on them. */
  readonly listen?: readonly string[];
  readonly command?: readonly string[];
  readonly runtime?: string;
  readonly state?: string;
  /** Only says whether this program could take the place of a daemon whose state is on standard input. */
  readonly tryUpgrade?: boolean;
}

const EXIT_DONE = 0;
const EXIT_FAILED = 1;
const EXIT_CONFIGURATION = 2;

/** Runs the daemon until it is told to end. Resolves to the exit code. Says what is wrong on standard error. */
export async function run(options: RunOptions): Promise<number> {
  if (options.tryUpgrade === true) return tryUpgrade(options);
  // First of all: nothing that is started from here on may have what the service manager or the image before left to this one.
  const given = sortGiven(takeGiven(process.env, process.pid));
  using inherited = Inheritance.receive(process.env);
  if (inherited !== null) reach("upgrade.entered");
  const program = new StartedProgram();
  const before = new Map(given.kept);
  let config: Config;
  try {
    config = configure(options);
  } catch (error) {
    await forgetAdminSockets(before);
    return complain(error);
  }
  for (const warning of config.warnings) process.stderr.write(`warning: ${warning}\n`);
  const log = pino({ level: config.log.level, base: null, timestamp: pino.stdTimeFunctions.isoTime });
  try {
    return await serve(config, log, program, { load: () => configure(options), given, inherited });
  } catch (error) {
    if (error instanceof CodedError)
      log.fatal({ code: error.code, detail: error.message }, "the daemon cannot run");
    else log.fatal({ err: error }, "the daemon cannot run");
    await forgetAdminSockets(before);
    return complain(error);
  }
}

/** Reads the configuration and says what is wrong with it. Returns the exit code. */
export function check(options: Pick<RunOptions, "configFile"> & { readonly json?: boolean }): number {
  if (options.json === true) return checkForPrograms(options);
  try {
    const config = configure(options);
    for (const warning of config.warnings) process.stderr.write(`warning: ${warning}\n`);
    process.stdout.write(
      `${config.file ?? "the configuration"}: ${config.listeners.length} listeners, ${config.services.length} services; nothing is wrong with it\n`,
    );
    return EXIT_DONE;
  } catch (error) {
    return complain(error);
  }
}

/** The same as one document: `problems` as docs/errors.md has them of CONFIG_INVALID, and a code where it cannot be used. */
function checkForPrograms(options: Pick<RunOptions, "configFile">): number {
  const say = (body: unknown): void => void process.stdout.write(`${JSON.stringify(body, null, 2)}\n`);
  try {
    const { file, listeners, services, warnings } = configure(options);
    say({ valid: true, file, listeners: listeners.length, services: services.length, warnings });
    return EXIT_DONE;
  } catch (error) {
    if (!(error instanceof CodedError)) throw error;
    const { code, message, details } = error;
    say({ valid: false, code, detail: message, problems: details["problems"] ?? [] });
    return exitCodeOf(error);
  }
}

/** What is wrong with the host and with the configuration, without a daemon. */
export async function doctor(options: Pick<RunOptions, "configFile">): Promise<Diagnosis> {
  return examineHost(() => configure(options));
}

async function tryUpgrade(options: RunOptions): Promise<number> {
  try {
    // What is loaded late must be there too.
    await loadServer();
    assertCanGoOn(configure(options), await late.consumers.text(process.stdin));
    process.stdout.write(canGoOn());
    return EXIT_DONE;
  } catch (error) {
    return complain(error);
  }
}

function configure(options: RunOptions): Config {
  const surroundings = { environment: withDirectories(options), accounts: native };
  if (options.listen === undefined)
    return loadConfig(options.configFile ?? DEFAULT_CONFIG_FILE, surroundings);
  const own = privateDirectory(options.listen);
  return configFromArguments(
    {
      listen: options.listen,
      command: options.command ?? [],
      runtime: options.runtime ?? join(own, "run"),
      state: options.state ?? join(own, "state"),
    },
    surroundings,
  );
}

/** --runtime and --state win over everything, and are said in the same way as systemd says it. */
function withDirectories({ runtime, state }: RunOptions): NodeJS.ProcessEnv {
  return {
    ...process.env,
    ...(runtime === undefined ? {} : { RUNTIME_DIRECTORY: runtime }),
    ...(state === undefined ? {} : { STATE_DIRECTORY: state }),
  };
}

function complain(error: unknown): number {
  process.stderr.write(`handoffd: ${messageOf(error)}\n`);
  return exitCodeOf(error);
}

function exitCodeOf(error: unknown): number {
  if (!(error instanceof CodedError)) return EXIT_FAILED;
  return /^(CONFIG|LISTENER|ADDRESS|TOKENS|TLS)_/u.test(error.code) ? EXIT_CONFIGURATION : EXIT_FAILED;
}

async function serve(
  config: Config,
  log: Logger,
  program: StartedProgram,
  { load, given, inherited }: Pick<Beginning, "given" | "inherited"> & { readonly load: () => Config },
): Promise<number> {
  const stop = stopSignal(log);
  const { runtime } = config.paths;
  prepare(runtime);
  prepare(join(runtime, "notify"), 0o711);
  using lockFile = inherited?.take("lock") ?? lock(runtime);
  const manager = new ServiceManager(process.env, log);
  // Bound first: what can fail should fail before anything is started.
  const access = new AdminAccess(config.admin);
  using stored = await storedAdminSockets(given.kept, config);
  using sockets = openAdminSockets(config, inherited ?? stored);
  const upgrade: Upgrade = new Upgrade(program, () =>
    bodyOf(lockFile, () => supervisor.parts, supervisor.events, front),
  );
  const supervisor: Supervisor = await Supervisor.open(config, log, {
    sources: { load, readAccess: () => access.prepare(config.admin) },
    given,
    own: stored.names,
    inherited,
    upgrade: (requestedBy) => upgrade.begin(requestedBy),
  });
  const after = inherited?.state.idempotency;
  const operations = new DaemonOperations(supervisor);
  const front: Front = new Front({ operations, log, peerOf, config, sockets, access, after });
  const where = await front.open();
  if (inherited !== null) reach("upgrade.opened");
  else await supervisor.parts.keeping?.keepOwn(front.descriptors);
  log.info({ version: packageVersion(), pid: process.pid, ...where }, "handoffd is up");
  manager.tell("READY=1");
  manager.follow(supervisor.events, () => statusLine(supervisor.status()));
  manager.watchdog();
  manager.reloadBySignal(() => supervisor.reload("systemd"));
  await stop.first;
  await upgrade.cancel();
  if ((await manager.isRestarting()) && supervisor.leave()) {
    manager.tell("STOPPING=1");
    await front.pause();
    log.info("handoffd leaves everything to the daemon that systemd starts next");
    return EXIT_DONE;
  }
  manager.stopping(supervisor.longestStopMs);
  stop.again(() => supervisor.kill());
  await close(front, supervisor);
  rmSync(config.admin.socket.path, { force: true });
  log.info("handoffd has ended");
  return EXIT_DONE;
}

/** The API answers until the services have drained: who waits for a deploy learns how it ended. */
async function close(front: Front, supervisor: Supervisor): Promise<void> {
  const { keeping } = supervisor.parts;
  await keeping?.letGoOfOwn(front.descriptors.keys());
  await supervisor.stop();
  await front.close();
}

function stopSignal(log: Logger): {
  readonly first: Promise<void>;
  readonly again: (act: () => void) => void;
} {
  let again = (): void => undefined;
  const first = new Promise<void>((resolve) => {
    let isStopping = false;
    for (const signal of ["SIGTERM", "SIGINT"] as const) {
      process.on(signal, () => {
        log.info({ signal }, isStopping ? "ending at once" : "draining and ending");
        if (isStopping) again();
        isStopping = true;
        resolve();
      });
    }
  });
  // A terminal that is closed must not take the host's listeners with it.
  process.on("SIGHUP", () => log.info("SIGHUP is ignored"));
  return { first, again: (act) => (again = act) };
}

function prepare(directory: string, mode = 0o755): void {
  try {
    mkdirSync(directory, { recursive: true, mode });
  } catch (error) {
    throw cannotPrepare(directory, messageOf(error), error);
  }
}

/** One daemon for one runtime directory: the kernel releases the lock with the process. */
function lock(runtime: string): Descriptor {
  const file = join(runtime, "handoffd.lock");
  let descriptor: Descriptor;
  try {
    descriptor = new Descriptor(openSync(file, "w", 0o600));
  } catch (error) {
    throw cannotPrepare(file, messageOf(error), error);
  }
  if (native.lockFile(descriptor.fd)) return descriptor;
  descriptor.close();
  throw anotherDaemon(runtime);
}
