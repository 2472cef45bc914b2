/** From what the file says to what the daemon uses. The file has been checked: nothing here fails. */
import { parseAddress } from "../../handoff/address.ts";
import { type Accounts, groupIds, userIds } from "./accounts.ts";
import type { AdminConfig, Config, ListenerConfig, Role, RoleGrant } from "./config.ts";
import { DEFAULTS } from "./defaults.ts";
import { normaliseService } from "./normalise-service.ts";
import { choosePaths, defaultAdminSocket, type Environment } from "./paths.ts";
import type { ConfigFile, ListenerFile, PrincipalFile } from "./schema.ts";
import { parseMode, parseTcpAddress } from "./values.ts";

export interface Origin {
  /** Absolute; null for a configuration that was made from arguments. */
  readonly file: string | null;
  readonly environment: Environment;
  readonly accounts: Accounts;
  readonly warnings: readonly string[];
}

export function normalise(file: ConfigFile, { file: path, environment, accounts, warnings }: Origin): Config {
  const paths = choosePaths(file.paths, environment);
  const marks = file.marks === "off" ? null : { base: file.marks?.base ?? DEFAULTS.marksBase };
  return {
    file: path,
    listeners: Object.entries(file.listeners ?? {}).map(([name, listener]) =>
      normaliseListener(name, listener),
    ),
    services: Object.entries(file.services ?? {}).map(([name, service]) =>
      normaliseService(name, service, accounts),
    ),
    admin: normaliseAdmin(file.admin, paths.runtime.path, accounts),
    metrics: file.metrics === undefined ? null : { address: parseTcpAddress(file.metrics.address) },
    paths: { runtime: paths.runtime.path, state: paths.state.path },
    marks,
    keeper: file.keeper ?? DEFAULTS.keeper,
    log: { level: file.log?.level ?? DEFAULTS.logLevel },
    warnings,
  };
}

function normaliseListener(name: string, listener: ListenerFile): ListenerConfig {
  return {
    name,
    address: parseAddress(listener.address),
    backlog: listener.backlog ?? DEFAULTS.backlog,
    mode: listener.mode === undefined ? null : parseMode(listener.mode),
    group: listener.group ?? null,
  };
}

function normaliseAdmin(admin: ConfigFile["admin"], runtime: string, accounts: Accounts): AdminConfig {
  const { socket, http } = admin ?? {};
  return {
    socket: {
      path: socket?.path ?? defaultAdminSocket(runtime),
      mode: parseMode(socket?.mode ?? DEFAULTS.adminMode),
      group: socket?.group ?? null,
      roles: (["read", "deploy", "admin"] as const).flatMap((role) =>
        grants(role, socket?.roles?.[role], accounts),
      ),
    },
    http:
      http === undefined
        ? null
        : {
            address: parseTcpAddress(http.address),
            tokens: http.tokens ?? null,
            tls:
              http.tls === undefined
                ? null
                : { cert: http.tls.cert, key: http.tls.key, clientCa: http.tls.client_ca ?? null },
          },
  };
}

function grants(role: Role, principal: PrincipalFile | undefined, accounts: Accounts): RoleGrant[] {
  if (principal === undefined) return [];
  return [
    ...userIds(principal, accounts).map((id) => ({ role, to: "user" as const, id })),
    ...groupIds(principal, accounts).map((id) => ({ role, to: "group" as const, id })),
  ];
}
