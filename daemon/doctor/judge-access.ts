/** Who can get at what, and whether the applications are as handoffd needs them. Pure. */
import { basename, dirname } from "node:path";
import type { Finding } from "../../admin-api/schemas.ts";
import type { Config, ServiceConfig } from "../config/config.ts";
import type { Facts, FileFact, FileFacts, OwnSocket } from "./facts.ts";
import { note, ok, problem, warning } from "./finding.ts";

const GROUP_WRITES = 0o020;
const OTHERS_WRITE = 0o002;
const OTHERS_READ = 0o004;
const STICKY = 0o1000;

/** Programs that start another one and close what that would need (measured: npm, and node by child_process). */
const IN_BETWEEN: readonly string[] = ["npm", "npx", "yarn", "pnpm", "nodemon", "pm2"];

export function judgeAccess({ files, self, config, ownSockets }: Facts): readonly Finding[] {
  return [
    directories(files, self.uid),
    ...(files.socket === null ? [] : [socket(files.socket)]),
    secrets(files, self.uid),
    ...(config === null ? [] : [users(config, self.uid), commands(config)]),
    sockets(ownSockets, config),
  ];
}

function directories({ runtime, state }: FileFacts, uid: number): Finding {
  const there = [runtime, state].filter((file) => file !== null);
  const wrong = there.filter(
    (file) =>
      (file.uid !== uid && file.uid !== 0) ||
      ((file.mode & (GROUP_WRITES | OTHERS_WRITE)) !== 0 && (file.mode & STICKY) === 0),
  );
  if (wrong.length === 0) {
    const which =
      there.length === 0
        ? "the daemon's directories are made at its start"
        : there.map(({ path }) => path).join(" and ");
    return ok(
      "access.directories",
      there.length === 0 ? which : `${which} can be changed by the daemon only`,
    );
  }
  return problem(
    "access.directories",
    `others can replace what is in ${wrong.map(({ path }) => path).join(" and ")}: sockets, and the state that a start believes`,
    wrong.map(({ path }) => `chown ${uid} ${path} && chmod go-w ${path}`).join("; "),
  );
}

function socket({ path, mode }: FileFact): Finding {
  if ((mode & OTHERS_WRITE) === 0)
    return ok("access.socket", `${path} (${octal(mode)}) is for its user and its group`);
  return note(
    "access.socket",
    `every user of the host can connect to ${path} (${octal(mode)}); who may do what is said by admin.socket.roles`,
    'admin: { socket: { mode: "0660", group: … } }, if only some should get that far',
  );
}

function secrets({ config, tokens }: FileFacts, uid: number): Finding {
  if (config !== null && (isWritableByOthers(config) || (config.uid !== 0 && config.uid !== uid))) {
    return problem(
      "access.secrets",
      `somebody else can write ${config.path}, and whoever can runs commands as the daemon`,
      `chown root ${config.path} && chmod go-w ${config.path}`,
    );
  }
  if (tokens !== null && (tokens.mode & OTHERS_READ) !== 0) {
    return warning(
      "access.secrets",
      `everybody can read ${tokens.path} (${octal(tokens.mode)}): the tokens are hashed, but their names and roles are told`,
      `chmod o= ${tokens.path}`,
    );
  }
  const which = [config, tokens].flatMap((file) => (file === null ? [] : [file.path]));
  return ok(
    "access.secrets",
    which.length === 0
      ? "there is no file to be read"
      : `${which.join(" and ")} can be changed by root and the daemon only`,
  );
}

function isWritableByOthers({ mode }: FileFact): boolean {
  return (mode & (GROUP_WRITES | OTHERS_WRITE)) !== 0;
}

function users({ services }: Config, uid: number): Finding {
  const same = services
    .filter(({ user, external }) => user === null && external === null)
    .map(({ name }) => name);
  if (same.length === 0) return ok("service.user", "every service has a user of its own");
  const who = uid === 0 ? "root" : "the daemon's own user";
  return warning(
    "service.user",
    `${same.join(", ")} ${same.length === 1 ? "runs" : "run"} as ${who}: such a process could join a listener's group, or speak to the daemon as its operator`,
    "user: NAME in the service",
  );
}

function commands({ services }: Config): Finding {
  const lossy = services.filter((service) => losesSockets(service));
  if (lossy.length === 0)
    return ok("service.command", "no command is known to close what its program inherits");
  const first = lossy[0];
  return problem(
    "service.command",
    `${lossy.map(({ name, command }) => `${name} (${basename(command[0] ?? "")})`).join(", ")}: what starts the program closes the sockets that it should inherit`,
    `name the program itself, as command: [node, server.js]${first?.directory == null ? "" : ` with directory: ${dirname(`${first.directory}/.`)}`}, or exec it from a shell`,
  );
}

function losesSockets({ command }: ServiceConfig): boolean {
  return IN_BETWEEN.includes(basename(command[0] ?? ""));
}

/** A listening socket beside the ones that were handed over may be meant (metrics, a debugger); on a listener's port it is not. */
function sockets(own: readonly OwnSocket[], config: Config | null): Finding {
  if (own.length === 0)
    return ok("service.own-sockets", "no application listens on anything but what it was given");
  const ports = new Set(
    config?.listeners.flatMap(({ address }) => ("port" in address ? [address.port] : [])),
  );
  const rivals = own.filter(({ port }) => ports.has(port));
  if (rivals.length > 0) {
    return problem(
      "service.own-sockets",
      `${rivals.map(named).join(", ")}: the application binds the listener's port by itself, so it takes connections that were meant for another generation`,
      "have the program listen on descriptor 3 (LISTEN_FDS), as `server.listen({ fd: 3 })`",
    );
  }
  return note(
    "service.own-sockets",
    `${own.map(named).join(", ")}: not handed over in a deploy, and two generations cannot have the same one`,
    "make it a listener of handoffd; or nothing, if it is a debugger's or for metrics and its port is chosen by the kernel",
  );
}

function named({ service, pid, command, host, port }: OwnSocket): string {
  return `${service} (pid ${pid}, ${command}) listens on ${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function octal(mode: number): string {
  return `0${(mode & 0o777).toString(8).padStart(3, "0")}`;
}
