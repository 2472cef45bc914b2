/** What the schema cannot say about the sections of the daemon itself: that things exist, fit together, and are unique. */
import { isIPv4 } from "node:net";
import { isAbsolute, join, posix } from "node:path";
import { parseAddress, SUN_PATH_MAX, type ListenerAddress } from "../../handoff/address.ts";
import { AccountCheck, type Accounts, type Identity } from "./accounts.ts";
import { DEFAULTS } from "./defaults.ts";
import { choosePaths, defaultAdminSocket, type ChosenPaths, type Environment } from "./paths.ts";
import type { Path, Report } from "./problem.ts";
import { suggestion } from "./suggest.ts";
import type { ListenerKinds } from "./semantics-deploy.ts";
import { checkService } from "./semantics-service.ts";
import type { ConfigDraft } from "./validate.ts";
import { parseTcpAddress } from "./values.ts";

export interface Surroundings {
  readonly environment: Environment;
  readonly accounts: Accounts;
  readonly self: Identity;
}

/**
 * The longest name of a socket in the runtime directory is a service's name and so much more:
 * a slash, the kind, a generation's and an instance's number.
 */
const SOCKET_NAME_ROOM = 32;

/** Reports what is wrong with the meaning. Parts that are missing from the draft have been reported before. */
export function checkMeaning(draft: ConfigDraft, report: Report, surroundings: Surroundings): void {
  const accounts = new AccountCheck(surroundings.accounts, surroundings.self, report);
  const paths = choosePaths(draft.paths, surroundings.environment);
  checkListeners(draft, report, accounts, paths.runtime.path);
  checkOwners(draft, report);
  const tools = { report, accounts, self: surroundings.self, kinds: kindsOf(draft) };
  for (const [name, service] of Object.entries(draft.services ?? {})) {
    if (service !== undefined) checkService(["services", name], service, tools);
  }
  checkAdmin(draft, report, accounts);
  checkPaths(draft, report, paths);
  const base = draft.marks === undefined || draft.marks === "off" ? undefined : draft.marks.base;
  if (base !== undefined && base % 0x10000 !== 0) {
    report.wrong(
      ["marks", "base"],
      `${base} is not a multiple of 0x10000 (65536); the lower 16 bits number the generations; write one such as 0x4a0000`,
    );
  }
  if (Object.values(draft.services ?? {}).length === 0) {
    report.warn(["services"], "there is no service; nothing will run; add one, or reload later");
  }
}

function kindsOf({ listeners = {} }: ConfigDraft): ListenerKinds {
  return new Map(
    Object.entries(listeners).flatMap(([name, listener]) =>
      listener?.address === undefined ? [] : [[name, parseAddress(listener.address).kind] as const],
    ),
  );
}

/** What two sockets cannot both be bound to; null: they can. */
function claim(address: ListenerAddress): string | null {
  switch (address.kind) {
    case "tcp":
      return address.port === 0 ? null : `tcp ${address.host} ${address.port}`;
    case "unix":
      return `unix ${posix.normalize(address.path)}`;
    case "abstract":
      return `abstract ${address.name}`;
    case "inherited":
      return `inherited ${address.name}`;
  }
}

function checkListeners(draft: ConfigDraft, report: Report, accounts: AccountCheck, runtime: string): void {
  const taken = new Map<string, string>();
  const take = (path: Path, address: ListenerAddress, owner: string): void => {
    const key = claim(address);
    if (key === null) return;
    const other = taken.get(key);
    if (other === undefined) taken.set(key, owner);
    else {
      report.wrong(
        path,
        `this is the address of ${other} already; a connection can reach one of them only; change one of them`,
      );
    }
  };
  const { socket, http } = draft.admin ?? {};
  const socketPath = socket?.path ?? defaultAdminSocket(runtime);
  take(["admin", "socket", "path"], { kind: "unix", path: socketPath }, "admin.socket");
  take(["keeper"], { kind: "unix", path: join(runtime, "keeper.sock") }, "the keeper");
  if (http?.address !== undefined)
    take(["admin", "http", "address"], parseTcpAddress(http.address), "admin.http");
  if (draft.metrics?.address !== undefined) {
    take(["metrics", "address"], parseTcpAddress(draft.metrics.address), "metrics");
  }
  for (const [name, service] of Object.entries(draft.services ?? {})) {
    if (service?.external === undefined) continue;
    const handoff = service.external.socket ?? join(runtime, `${name}.sock`);
    take(
      ["services", name, "external", "socket"],
      { kind: "unix", path: handoff },
      `the handoff socket of "${name}"`,
    );
  }
  for (const [name, listener] of Object.entries(draft.listeners ?? {})) {
    const path = ["listeners", name];
    accounts.group([...path, "group"], listener?.group);
    if (listener?.address === undefined) continue;
    const address = parseAddress(listener.address);
    take([...path, "address"], address, `the listener "${name}"`);
    if (address.kind === "unix") continue;
    for (const key of ["mode", "group"] as const) {
      if (listener[key] === undefined) continue;
      report.wrongKey(
        [...path, key],
        `"${key}" is for unix sockets with a path, and "${listener.address}" is none; it would have no effect; remove it`,
      );
    }
  }
}

/** A listener belongs to at most one service. */
function checkOwners(draft: ConfigDraft, report: Report): void {
  const known = Object.keys(draft.listeners ?? {});
  const owners = new Map<string, string>();
  for (const [service, config] of Object.entries(draft.services ?? {})) {
    (config?.listeners ?? []).forEach((listener, index) => {
      if (listener === undefined) return;
      const path = ["services", service, "listeners", index];
      const owner = owners.get(listener);
      if (!known.includes(listener)) {
        report.wrong(path, unknownListener(listener, known));
      } else if (owner === undefined) {
        owners.set(listener, service);
      } else if (owner === service) {
        report.wrong(
          path,
          `"${listener}" stands here twice; the program would get the socket at two descriptors; remove one`,
        );
      } else {
        report.wrong(
          path,
          `"${listener}" belongs to the service "${owner}" already; connections are given to the generations of one service; add a listener or remove one of the two`,
        );
      }
    });
  }
  for (const listener of known) {
    if (!owners.has(listener)) {
      report.warn(
        ["listeners", listener],
        "no service uses this listener; connections will wait in its queue; add it to a service or remove it",
      );
    }
  }
}

function unknownListener(name: string, known: readonly string[]): string {
  return `there is no listener "${name}"; a service names what stands under listeners:; ${suggestion(name, known)}`;
}

function checkAdmin(draft: ConfigDraft, report: Report, accounts: AccountCheck): void {
  const { socket, http } = draft.admin ?? {};
  accounts.group(["admin", "socket", "group"], socket?.group);
  for (const role of ["read", "deploy", "admin"] as const) {
    accounts.principal(["admin", "socket", "roles", role], socket?.roles?.[role]);
  }
  if (http?.address === undefined) return;
  const { host } = parseTcpAddress(http.address);
  if (host === "::1" || (isIPv4(host) && host.startsWith("127."))) return;
  if (http.tokens !== undefined && http.tls === undefined) {
    report.warn(
      ["admin", "http"],
      `"${http.address}" can be reached from other hosts, and tokens travel there in clear text; add tls:, or let nothing but a proxy with TLS reach it`,
    );
  }
  if (http.tokens !== undefined || http.tls?.client_ca !== undefined) return;
  report.wrong(
    ["admin", "http", "address"],
    `"${http.address}" can be reached from other hosts, and nothing says who asks; add tokens: (handoffd token new) or tls: with client_ca, or use a loopback address such as 127.0.0.1:9700, where everyone may look and nobody may change anything`,
  );
}

function checkPaths(draft: ConfigDraft, report: Report, chosen: ChosenPaths): void {
  for (const key of ["runtime", "state"] as const) {
    const { path, variable } = chosen[key];
    if (variable !== null && !isAbsolute(path)) {
      report.wrongVariable(
        variable,
        `"${path}" is not absolute; it would depend on where the daemon was started; set an absolute path`,
      );
    }
  }
  const { path, variable } = chosen.runtime;
  const longestName = Math.max(0, ...Object.keys(draft.services ?? {}).map((name) => name.length));
  const room = SUN_PATH_MAX - 1 - SOCKET_NAME_ROOM - longestName;
  const size = Buffer.byteLength(path);
  if (size <= room) return;
  const message = `the path has ${size} bytes, and sockets are made in it, whose paths must fit into the ${SUN_PATH_MAX} bytes of sun_path; use one of at most ${room} bytes, such as ${DEFAULTS.runtime}`;
  if (variable === null) report.wrong(["paths", "runtime"], message);
  else report.wrongVariable(variable, message);
}
