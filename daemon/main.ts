/** The composition root: from arguments to a running daemon, and from a signal to its end. */
import { mkdirSync, openSync, rmSync } from "node:fs";
import { join } from "node:path";
import { pino, type Logger } from "pino";
import { peerOf } from "../admin-api/access.ts";
import { type AdminServer, createServer } from "../admin-api/server.ts";
import { CodedError, messageOf } from "../handoff/coded-error.ts";
import { Descriptor } from "../handoff/descriptor.ts";
import { native } from "../handoff/native.ts";
import { packageVersion } from "../handoff/version.ts";
import { AdminAccess } from "./admin-access.ts";
import { type AdminSockets, boundTo, isLoopback, openAdminSockets } from "./admin-sockets.ts";
import { configFromArguments } from "./config/arguments.ts";
import type { Config } from "./config/config.ts";
import { loadConfig } from "./config/load.ts";
import { DEFAULT_CONFIG_FILE, privateDirectory } from "./directories.ts";
import { anotherDaemon, cannotPrepare } from "./errors.ts";
import { DaemonOperations } from "./operations.ts";
import { Supervisor } from "./supervisor.ts";
import { notifySystemd } from "./systemd.ts";

export interface RunOptions {
  readonly configFile?: string;
  /** Without a file: `NAME=ADDRESS` each, and what to run on them. */
  readonly listen?: readonly string[];
  readonly command?: readonly string[];
  readonly runtime?: string;
  readonly state?: string;
}

const EXIT_DONE = 0;
const EXIT_FAILED = 1;
const EXIT_CONFIGURATION = 2;

/** Runs the daemon until it is told to end. Resolves to the exit code. Says what is wrong on standard error. */
export async function run(options: RunOptions): Promise<number> {
  let config: Config;
  try {
    config = configure(options);
  } catch (error) {
    return complain(error);
  }
  for (const warning of config.warnings) process.stderr.write(`warning: ${warning}\n`);
  const log = pino({ level: config.log.level, base: null, timestamp: pino.stdTimeFunctions.isoTime });
  try {
    return await serve(config, () => configure(options), log);
  } catch (error) {
    if (error instanceof CodedError)
      log.fatal({ code: error.code, detail: error.message }, "the daemon cannot run");
    else log.fatal({ err: error }, "the daemon cannot run");
    return complain(error);
  }
}

/** Reads the configuration and says what is wrong with it. Returns the exit code. */
export function check(options: Pick<RunOptions, "configFile">): number {
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
  if (!(error instanceof CodedError)) return EXIT_FAILED;
  return /^(CONFIG|LISTENER|ADDRESS|TOKENS|TLS)_/u.test(error.code) ? EXIT_CONFIGURATION : EXIT_FAILED;
}

async function serve(config: Config, load: () => Config, log: Logger): Promise<number> {
  const { runtime } = config.paths;
  prepare(runtime);
  prepare(join(runtime, "notify"), 0o711);
  using _lock = lock(runtime);
  const stop = stopSignal(log);
  // Bound first: what can fail should fail before anything is started.
  const access = new AdminAccess(config.admin);
  using sockets = openAdminSockets(config);
  const sources = { load, readAccess: () => access.prepare(config.admin) };
  const supervisor = await Supervisor.open(config, sources, log);
  const operations = new DaemonOperations(supervisor);
  const admin = createServer({ operations, log, peerOf, access: access.access });
  const where = await listen(admin, sockets, config, access);
  log.info({ version: packageVersion(), pid: process.pid, ...where }, "handoffd is up");
  notifySystemd("READY=1", log);
  await stop.first;
  notifySystemd("STOPPING=1", log);
  stop.again(() => supervisor.kill());
  await close(admin, supervisor);
  rmSync(config.admin.socket.path, { force: true });
  log.info("handoffd has ended");
  return EXIT_DONE;
}

/** Serves the API on all its sockets. Returns where, as the log shows it. */
async function listen(
  admin: AdminServer,
  sockets: AdminSockets,
  config: Config,
  access: AdminAccess,
): Promise<Readonly<Record<string, string>>> {
  const where: Record<string, string> = { socket: config.admin.socket.path };
  const { http } = config.admin;
  if (sockets.http !== null && http !== null) {
    where["http"] = boundTo(sockets.http);
    const kind = { kind: "tcp", isLoopback: isLoopback(http.address), tls: access.tls } as const;
    access.attach(await admin.listenOn(sockets.http.take(), kind));
  }
  if (sockets.metrics !== null && config.metrics !== null) {
    where["metrics"] = boundTo(sockets.metrics);
    const kind = { kind: "metrics", isLoopback: isLoopback(config.metrics.address) } as const;
    await admin.listenOn(sockets.metrics.take(), kind);
  }
  // The last one: whoever finds the unix socket finds the others too.
  await admin.listenOn(sockets.unix.take());
  return where;
}

/** The API answers until the services have drained: who waits for a deploy learns how it ended. */
async function close(admin: AdminServer, supervisor: Supervisor): Promise<void> {
  await supervisor.stop();
  await admin.close();
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
