/**
 * From a user's configuration to that of a private daemon: the same service, at addresses and in directories that nobody else has.
 *
 *   tcp:0.0.0.0:8080        → tcp:127.0.0.1:0           unix:/run/app/ipc.sock → unix:DIRECTORY/sockets/NAME.sock
 *   tcp:[::]:80             → tcp:[::1]:0               unix:@app              → unix:@verify-…-NAME
 *   systemd:web             → tcp:127.0.0.1:0
 */
import { basename, join } from "node:path";
import type { ConfigFile, ListenerFile, ServiceFile } from "../../daemon/config/schema.ts";
import { DEFAULTS } from "../../daemon/config/defaults.ts";
import { parseAddress } from "../../handoff/address.ts";
import { unusable } from "./errors.ts";

/** What a deploy of a verification waits for, where the file has minutes: nobody has to be watched. */
const MOMENT = "300ms";
/** The daemon's marks have the lower 16 bits. */
const MARKS = 0x10000;
const LARGEST_MARK = 0x7fff0000;

export interface PrivateOptions {
  /** Absolute, and of this verification alone. */
  readonly directory: string;
  /** Addresses that were asked for, by listener. */
  readonly listen: ReadonlyMap<string, string>;
  /** Instead of the configured `version`. */
  readonly release: string | null;
  /** Absolute: where the application's output goes. */
  readonly output: string;
}

export interface PrivateConfig {
  readonly value: ConfigFile;
  /** What of the file does not hold in the private daemon. */
  readonly notes: readonly string[];
}

/** `file` is valid. Throws VERIFY_UNUSABLE. */
export function privateConfig(file: ConfigFile, service: string, options: PrivateOptions): PrivateConfig {
  const { directory, listen, output } = options;
  const given = serviceOf(file, service);
  const names = given.listeners ?? [];
  for (const name of listen.keys()) {
    if (names.includes(name)) continue;
    throw unusable(service, `it has no listener "${name}"`, `--listen can name ${names.join(", ")}`);
  }
  const notes: string[] = [];
  const listeners = names.map((name): [string, ListenerFile] => {
    const before = file.listeners?.[name] ?? { address: "" };
    const address = listen.get(name) ?? privateAddress(name, before.address, directory);
    return [name, listenerAt(before, address)];
  });
  const { deploy, notes: left } = shortDeploy(given.deploy);
  notes.push(...left);
  const { external: _external, output: _output, ...rest } = given;
  return {
    value: {
      listeners: Object.fromEntries(listeners),
      services: {
        [service]: { ...rest, output, deploy, ...(options.release !== null && { version: options.release }) },
      },
      admin: { socket: { path: join(directory, "admin.sock"), mode: "0600" } },
      paths: { runtime: join(directory, "r"), state: join(directory, "state") },
      marks: otherMarks(file.marks),
      log: { level: "info" },
    },
    notes,
  };
}

function serviceOf({ services = {} }: ConfigFile, name: string): ServiceFile {
  const service = services[name];
  if (service === undefined) {
    const known = Object.keys(services);
    const way = known.length === 0 ? "the file has none" : `name one of ${known.join(", ")}`;
    throw unusable(`"${name}"`, "there is no such service", way);
  }
  if (service.external !== undefined) {
    throw unusable(
      name,
      "its instances are started by someone else (external:), and a private daemon must end all that it starts",
      "verify a service with the same command: and without external:",
    );
  }
  if ((service.listeners ?? []).length === 0) {
    throw unusable(name, "it has no listeners, so no client could lose anything", "name one that has");
  }
  return service;
}

/** The kernel chooses ports; a socket's path stays short, since it must fit into sun_path. */
function privateAddress(name: string, text: string, directory: string): string {
  const address = parseAddress(text);
  switch (address.kind) {
    case "tcp":
      return address.family === "inet6" ? "tcp:[::1]:0" : "tcp:127.0.0.1:0";
    case "unix":
      return `unix:${join(directory, "sockets", `${name}.sock`)}`;
    case "abstract":
      return `unix:@${basename(directory)}-${name}`;
    case "inherited":
      return "tcp:127.0.0.1:0";
  }
}

/** Only sockets with a path have a mode and a group. */
function listenerAt({ mode, group, backlog }: ListenerFile, address: string): ListenerFile {
  const isPath = parseAddress(address).kind === "unix";
  return {
    address,
    ...(backlog !== undefined && { backlog }),
    ...(isPath && mode !== undefined && { mode }),
    ...(isPath && group !== undefined && { group }),
  };
}

type DeployFile = NonNullable<ServiceFile["deploy"]>;

/** The same strategy, without what takes minutes or asks somebody else. */
function shortDeploy(deploy: DeployFile = {}): { readonly deploy: DeployFile; readonly notes: string[] } {
  const { analysis, pin, steps, bake: _bake, ...rest } = deploy;
  const isCanary = deploy.strategy === "canary";
  const notes = [
    ...(analysis === undefined ? [] : ["deploy.analysis is left out: it asks about another daemon"]),
    ...(pin === undefined ? [] : ["deploy.pin is left out: all clients are on this host"]),
    ...(isCanary ? [`each step of the canary lasts ${MOMENT}, and none is a pause`] : []),
  ];
  // Without pin a step that nobody reaches is an error.
  const reached = (steps ?? DEFAULTS.steps).filter(({ weight }) => Number.parseFloat(String(weight)) > 0);
  const short = reached.map(({ weight }) => ({ weight, for: MOMENT }));
  return { deploy: { ...rest, bake: MOMENT, ...(isCanary && { steps: short }) }, notes };
}

/** Not those of a daemon that runs here: it counts connections by them. */
function otherMarks(marks: ConfigFile["marks"]): NonNullable<ConfigFile["marks"]> {
  if (marks === "off") return "off";
  const base = (marks?.base ?? DEFAULTS.marksBase) + MARKS;
  return { base: base > LARGEST_MARK ? MARKS : base };
}
