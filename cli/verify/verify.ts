/** A verification from its options to its report; whatever happens, what it started has ended when it returns. */
import { readFileSync } from "node:fs";
import { constants } from "node:os";
import type { Deploy } from "../../admin-api/schemas.ts";
import type { Config, ServiceConfig } from "../../daemon/config/config.ts";
import { loadConfig } from "../../daemon/config/load.ts";
import type { ConfigFile } from "../../daemon/config/schema.ts";
import { parseYaml } from "../../daemon/config/source.ts";
import { DEFAULT_CONFIG_FILE } from "../../daemon/directories.ts";
import { native } from "../../handoff/native.ts";
import { unusable } from "./errors.ts";
import { PrivateDaemon, preparePlace, removePlace } from "./private-daemon.ts";
import { privateConfig } from "./private-config.ts";
import { progressLine, renderReport } from "./render-report.ts";
import { type Report, reportOf } from "./report.ts";
import { Interruption } from "./interruption.ts";
import { observe } from "./run.ts";

export interface Options {
  readonly service: string;
  readonly configFile: string | null;
  readonly deploys: number;
  readonly connections: number;
  readonly path: string | null;
  readonly streamPath: string | null;
  readonly listen: ReadonlyMap<string, string>;
  readonly release: string | null;
  readonly readyWithinMs: number | null;
  readonly lateMs: number;
  readonly output: string | null;
  readonly isJson: boolean;
  /** What runs as `handoffd`. */
  readonly program: string;
}

/** Resolves to the exit code. Throws CONFIG_…, VERIFY_UNUSABLE, VERIFY_DAEMON_FAILED. */
export async function verify(options: Options): Promise<number> {
  const file = options.configFile ?? DEFAULT_CONFIG_FILE;
  const config = loadConfig(file, { environment: process.env, accounts: native });
  using interruption = Interruption.watch();
  try {
    const report = await verifyService(config, file, options, interruption.signal);
    process.stdout.write(`${options.isJson ? JSON.stringify(report, null, 2) : renderReport(report)}\n`);
    return report.clean ? 0 : 1;
  } catch (error) {
    if (interruption.by === null) throw error;
    process.stderr.write(`handoffd: interrupted by ${interruption.by}; all that was started has ended\n`);
    return 128 + constants.signals[interruption.by];
  }
}

async function verifyService(
  config: Config,
  file: string,
  options: Options,
  signal: AbortSignal,
): Promise<Report> {
  const service = config.services.find(({ name }) => name === options.service);
  const place = preparePlace(service === undefined ? null : ownerOf(service));
  try {
    const output = options.output ?? place.output;
    const { directory } = place;
    const { listen, release } = options;
    // The file was valid a moment ago.
    const source = parseYaml(file, readFileSync(file, "utf8")).value as ConfigFile;
    const own = privateConfig(source, options.service, { directory, listen, release, output });
    if (service === undefined) throw unusable(options.service, "the file has changed meanwhile", "try again");
    const daemon = await PrivateDaemon.start(directory, own.value, options.program, signal);
    let isOver = false;
    try {
      const observations = await observe(
        daemon,
        { ...runOptions(service, options), output, directory },
        signal,
      );
      isOver = true;
      const left = await daemon.end(false);
      return reportOf(observations, left, { file, notes: own.notes });
    } finally {
      if (!isOver) await daemon.end(true);
    }
  } finally {
    removePlace(place);
  }
}

function runOptions(service: ServiceConfig, options: Options) {
  const { path, streamPath, deploys, connections, readyWithinMs, lateMs, isJson } = options;
  return {
    service,
    paths: new Map(service.listeners.map((name) => [name, path ?? pathOf(service, name)])),
    streamPath,
    deploys,
    connections,
    readyWithinMs: readyWithinMs ?? service.ready.timeoutMs / 2,
    lateMs,
    onDeploy: (deploy: Deploy, index: number): void => {
      if (!isJson) process.stdout.write(`${progressLine(deploy, index, deploys)}\n`);
    },
  };
}

/** What the service's own proofs ask for on this listener. */
function pathOf({ verify, ready }: ServiceConfig, listener: string): string {
  const check = verify.find((each) => each.kind === "http" && each.listener === listener);
  if (check?.kind === "http") return check.path;
  return ready.by === "http" && ready.listener === listener ? ready.path : "/";
}

/** The uid that it runs under; null: ours. */
function ownerOf({ user }: ServiceConfig): number | null {
  const uid = user === null ? undefined : native.lookupUser(user)?.uid;
  return uid === undefined || uid === process.geteuid?.() ? null : uid;
}
