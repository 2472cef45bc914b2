/** A service's section, with every default filled in. The file has been checked: nothing here fails. */
import type { Static } from "@sinclair/typebox";
import { type Accounts, groupIds, userIds } from "./accounts.ts";
import type {
  AnalysisConfig,
  DeployConfig,
  ExternalConfig,
  Limit,
  OutputConfig,
  ReadyConfig,
  ServiceConfig,
  VerifyConfig,
} from "./config.ts";
import { DEFAULTS } from "./defaults.ts";
import type { DeploySchema } from "./schema-deploy.ts";
import type { ReadySchema, VerifySchema } from "./schema-proof.ts";
import type { ServiceFile } from "./schema.ts";
import { normaliseSteps } from "./steps.ts";
import { parseBackoff, parseDuration, parseMode, parsePrometheusUrl, parseSignal } from "./values.ts";

type DeployFile = Static<typeof DeploySchema>;

export function normaliseService(name: string, service: ServiceFile, accounts: Accounts): ServiceConfig {
  const listeners = service.listeners ?? [];
  const first = listeners[0];
  const backoff = parseBackoff(service.restart?.backoff ?? DEFAULTS.restartBackoff);
  return {
    name,
    command: service.command ?? [],
    directory: service.directory ?? null,
    version: service.version ?? null,
    environment: service.environment ?? {},
    environmentFile: service.environment_file ?? null,
    user: service.user === undefined ? null : (accounts.lookupUser(service.user)?.name ?? null),
    group: service.group ?? null,
    groups: service.groups ?? [],
    umask: service.umask === undefined ? null : parseMode(service.umask),
    limits: normaliseLimits(service.limits),
    nice: service.nice ?? null,
    noNewPrivileges: service.no_new_privileges ?? DEFAULTS.noNewPrivileges,
    listeners,
    instances: service.instances ?? DEFAULTS.instances,
    ready: normaliseReady(service.ready, first),
    verify: (service.verify ?? []).flatMap((check) => normaliseVerify(check, first)),
    deploy: normaliseDeploy(service.deploy ?? {}),
    drain: {
      signal: parseSignal(service.drain?.signal ?? DEFAULTS.drainSignal),
      settleMs: parseDuration(service.drain?.settle ?? DEFAULTS.drainSettle),
      timeoutMs: parseDuration(service.drain?.timeout ?? DEFAULTS.drainTimeout),
    },
    fdstore: { max: service.fdstore?.max ?? DEFAULTS.fdstoreMax },
    external: normaliseExternal(service.external, accounts),
    restart: { backoffMinMs: backoff.minMs, backoffMaxMs: backoff.maxMs },
    output: normaliseOutput(service.output ?? DEFAULTS.output),
  };
}

function normaliseLimits(limits: ServiceFile["limits"]): Readonly<Record<string, Limit>> {
  return Object.fromEntries(
    Object.entries(limits ?? {}).map(([name, limit]): [string, Limit] => [
      name,
      typeof limit === "object" ? limit : { soft: limit, hard: limit },
    ]),
  );
}

function normaliseReady(
  ready: Static<typeof ReadySchema> | undefined,
  first: string | undefined,
): ReadyConfig {
  if (ready === undefined) {
    const timeoutMs = parseDuration(DEFAULTS.readyTimeout);
    if (first !== undefined) return { by: DEFAULTS.ready, listener: first, timeoutMs };
    const afterMs = parseDuration(DEFAULTS.readyDelay);
    return { by: "delay", afterMs, timeoutMs: afterMs + timeoutMs };
  }
  switch (ready.by) {
    case "notify":
      return { by: ready.by, timeoutMs: parseDuration(ready.timeout ?? DEFAULTS.readyTimeout) };
    case "listening":
      return {
        by: ready.by,
        listener: ready.listener ?? checked(first),
        timeoutMs: parseDuration(ready.timeout ?? DEFAULTS.readyTimeout),
      };
    case "http":
      return {
        by: ready.by,
        listener: ready.listener ?? checked(first),
        path: ready.path,
        expect: ready.expect ?? DEFAULTS.httpExpect,
        timeoutMs: parseDuration(ready.timeout ?? DEFAULTS.readyTimeout),
      };
    case "delay": {
      const afterMs = parseDuration(ready.after);
      const timeoutMs =
        ready.timeout === undefined
          ? afterMs + parseDuration(DEFAULTS.readyTimeout)
          : parseDuration(ready.timeout);
      return { by: ready.by, afterMs, timeoutMs };
    }
  }
}

function normaliseVerify(check: Static<typeof VerifySchema>, first: string | undefined): VerifyConfig[] {
  const timeoutMs = parseDuration(check.timeout ?? DEFAULTS.verifyTimeout);
  if (check.command !== undefined) return [{ kind: "command", command: check.command, timeoutMs }];
  if (check.http === undefined) return [];
  return [
    {
      kind: "http",
      listener: check.http.listener ?? checked(first),
      path: check.http.path,
      expect: check.http.expect ?? DEFAULTS.httpExpect,
      count: check.http.count ?? DEFAULTS.verifyCount,
      timeoutMs,
    },
  ];
}

function normaliseDeploy(deploy: DeployFile): DeployConfig {
  return {
    strategy: deploy.strategy ?? DEFAULTS.strategy,
    steps: normaliseSteps(deploy.steps ?? DEFAULTS.steps),
    share: deploy.share ?? DEFAULTS.share,
    pin: deploy.pin ?? [],
    bakeMs: parseDuration(deploy.bake ?? DEFAULTS.bake),
    floor: deploy.floor ?? DEFAULTS.floor,
    watch: {
      exits: deploy.watch?.exits ?? DEFAULTS.watchExits,
      queueMs: parseDuration(deploy.watch?.queue ?? DEFAULTS.watchQueue),
    },
    analysis: deploy.analysis === undefined ? null : normaliseAnalysis(deploy.analysis),
  };
}

function normaliseAnalysis(analysis: NonNullable<DeployFile["analysis"]>): AnalysisConfig {
  const { prometheus, query, command } = analysis;
  return {
    source:
      command === undefined
        ? { kind: "prometheus", url: parsePrometheusUrl(checked(prometheus)), query: checked(query) }
        : { kind: "command", command },
    max: analysis.max ?? null,
    min: analysis.min ?? null,
    everyMs: parseDuration(analysis.every ?? DEFAULTS.analysisEvery),
    samples: analysis.samples ?? DEFAULTS.analysisSamples,
    noData: analysis.no_data ?? DEFAULTS.analysisNoData,
    deadlineMs: parseDuration(analysis.deadline ?? DEFAULTS.analysisDeadline),
    timeoutMs: parseDuration(analysis.timeout ?? DEFAULTS.analysisTimeout),
  };
}

function normaliseExternal(external: ServiceFile["external"], accounts: Accounts): ExternalConfig | null {
  if (external === undefined) return null;
  return {
    allow: { uids: userIds(external.allow, accounts), gids: groupIds(external.allow, accounts) },
    socket: external.socket ?? null,
    start: external.start ?? null,
    stop: external.stop ?? null,
  };
}

function normaliseOutput(output: string): OutputConfig {
  return output === "inherit" || output === "journal" ? { kind: output } : { kind: "file", path: output };
}

/** What the checks of meaning have seen to be there. */
function checked<T>(value: T | undefined): T {
  if (value === undefined) throw new Error("a check of the configuration let something incomplete pass");
  return value;
}
