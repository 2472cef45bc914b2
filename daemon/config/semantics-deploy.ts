/** What the schema cannot say about how a deploy goes: what does not fit together, and what would have no effect. */
import type { ListenerAddress } from "../../handoff/address.ts";
import type { DeployConfig } from "./config.ts";
import { DEFAULTS } from "./defaults.ts";
import { unknownPlaceholders } from "./placeholders.ts";
import type { Path, Report } from "./problem.ts";
import type { ServiceFile } from "./schema.ts";
import { checkSteps } from "./steps.ts";
import type { Draft } from "./validate.ts";
import { formatDuration, parseDuration } from "./values.ts";

type ServiceDraft = Draft<ServiceFile>;
type DeployDraft = NonNullable<ServiceDraft["deploy"]>;
type AnalysisDraft = NonNullable<DeployDraft["analysis"]>;

/** The listeners' names and what they are. Those whose address was wrong are missing. */
export type ListenerKinds = ReadonlyMap<string, ListenerAddress["kind"]>;

export function checkDeploy(path: Path, service: ServiceDraft, kinds: ListenerKinds, report: Report): void {
  const deploy = service.deploy;
  if (deploy === undefined) return;
  const at = [...path, "deploy"];
  checkFitting(at, deploy, report);
  checkFloor(at, service, report);
  for (const { index, key, message } of checkSteps(deploy.steps ?? [], (deploy.pin ?? []).length > 0)) {
    report.wrong([...at, "steps", index, key], message);
  }
  checkAbility(at, service, deploy, kinds, report);
  if (deploy.analysis !== undefined) {
    checkAnalysis([...at, "analysis"], deploy.analysis, "version" in service, report);
  }
}

/** What belongs to another strategy than the service's. A strategy that was wrong has been reported, and is not known. */
function checkFitting(at: Path, deploy: DeployDraft, report: Report): void {
  const strategy = "strategy" in deploy ? deploy.strategy : DEFAULTS.strategy;
  if (strategy === undefined) return;
  const belongs = (key: "steps" | "floor", to: DeployConfig["strategy"], what: string): void => {
    if (deploy[key] === undefined || strategy === to) return;
    report.wrongKey(
      [...at, key],
      `the strategy is ${strategy}, and ${what}, so that this would have no effect; write strategy: ${to} or remove it`,
    );
  };
  belongs("steps", "canary", "only canary goes in steps");
  belongs("floor", "rolling", "only rolling takes instances away one by one");
  if (deploy.pin !== undefined && deploy.pin.length > 0 && strategy === "recreate") {
    report.wrongKey(
      [...at, "pin"],
      "the strategy is recreate, and never are there two generations to choose between; write another strategy or remove it",
    );
  }
}

function checkFloor(at: Path, service: ServiceDraft, report: Report): void {
  const floor = service.deploy?.floor;
  const instances = "instances" in service ? service.instances : DEFAULTS.instances;
  if (floor === undefined || instances === undefined || floor <= instances) return;
  report.wrong(
    [...at, "floor"],
    `the floor ${floor} is above the ${instances} instances of the service; it could never be held; write at most ${instances}`,
  );
}

/** Only the listeners of kind tcp know shares between 0 and 1, and where a client comes from. */
function checkAbility(
  at: Path,
  service: ServiceDraft,
  { strategy, share, pin }: DeployDraft,
  kinds: ListenerKinds,
  report: Report,
): void {
  const own = (service.listeners ?? []).filter((name) => name !== undefined);
  const isUnix = (name: string): boolean => ["unix", "abstract"].includes(kinds.get(name) ?? "");
  const unix = own.find(isUnix);
  if (unix === undefined) return;
  if (strategy === "canary" || strategy === "rolling") {
    report.wrong(
      [...at, "strategy"],
      `${strategy} gives the candidate a share of the new connections, and the listener "${unix}" is a unix socket, whose connections go to one generation as a whole; write blue-green or recreate, or give the listener a service of its own`,
    );
  }
  if (!own.every(isUnix)) return;
  if (pin !== undefined && pin.length > 0) {
    report.wrongKey(
      [...at, "pin"],
      `the clients of "${unix}", a unix socket, have no network; it would have no effect; remove it or add a tcp listener`,
    );
  }
  if (share === "sticky") {
    report.wrongKey(
      [...at, "share"],
      `the clients of "${unix}", a unix socket, have no address; it would have no effect; remove it or add a tcp listener`,
    );
  }
}

function checkAnalysis(at: Path, analysis: AnalysisDraft, hasVersions: boolean, report: Report): void {
  checkSource(at, analysis, report);
  checkQuery([...at, "query"], analysis.query, hasVersions, report);
  const { min, max } = analysis;
  if (min !== undefined && max !== undefined && min > max) {
    report.wrong(
      [...at, "min"],
      `the least ${min} is above the most ${max}; no value could be good; swap them`,
    );
  }
  for (const key of ["every", "deadline", "timeout"] as const) positive([...at, key], analysis[key], report);
  checkPace(at, analysis, report);
}

/** Keys that were wrong are there, without a value: they have been reported. */
function checkSource(at: Path, analysis: AnalysisDraft, report: Report): void {
  const ofQuery = (["prometheus", "query", "max", "min"] as const).filter((key) => key in analysis);
  if ("command" in analysis) {
    for (const key of ofQuery) {
      report.wrongKey(
        [...at, key],
        `"${key}" belongs to a query, and there is a command:, whose exit status is its verdict; remove one of them`,
      );
    }
    if (analysis.command?.[0] === "") {
      report.wrong(
        [...at, "command", 0],
        "the program is empty text; nothing can be started; name a program",
      );
    }
    return;
  }
  const isJudged = "max" in analysis || "min" in analysis;
  if ("prometheus" in analysis && "query" in analysis && isJudged) return;
  report.wrong(
    at,
    "an analysis is a command:, or prometheus: and query: with max: or min:; nothing else can be judged; complete one of them",
  );
}

function checkQuery(at: Path, query: string | undefined, hasVersions: boolean, report: Report): void {
  if (query === undefined) return;
  for (const placeholder of unknownPlaceholders(query)) {
    report.wrong(
      at,
      `${placeholder} is not known; {version}, {generation} and {service} are filled in; correct or remove it`,
    );
  }
  if (!query.includes("{version}") || hasVersions) return;
  report.wrong(
    at,
    '{version} is used and there is no "version"; it would be empty in the first deploy; add version: "…" or use {generation}',
  );
}

/** A verdict that can only come after the deadline never comes. */
function checkPace(at: Path, analysis: AnalysisDraft, report: Report): void {
  const written = <T>(key: keyof AnalysisDraft, value: T | undefined, fallback: T): T | undefined =>
    key in analysis ? value : fallback;
  const every = written("every", analysis.every, DEFAULTS.analysisEvery);
  const samples = written("samples", analysis.samples, DEFAULTS.analysisSamples);
  const deadline = written("deadline", analysis.deadline, DEFAULTS.analysisDeadline);
  if (every === undefined || samples === undefined || deadline === undefined) return;
  const needed = (samples - 1) * parseDuration(every);
  if (needed < parseDuration(deadline) || needed === 0) return;
  report.wrong(
    "deadline" in analysis ? [...at, "deadline"] : at,
    `${samples} samples, one every ${every}, take ${formatDuration(needed)}, and the deadline of ${deadline} is over before; every deploy would go back; make the deadline longer or take fewer samples`,
  );
}

/** Reports a duration of nothing where there must be some time. */
export function positive(path: Path, duration: string | undefined, report: Report): void {
  if (duration === undefined || parseDuration(duration) > 0) return;
  report.wrong(
    path,
    `"${duration}" leaves no time at all; it would always be over before anything happened; write one such as "30s"`,
  );
}
