/** What the schema cannot say about a service. */
import { isAbsolute } from "node:path";
import { messageOf } from "../../handoff/coded-error.ts";
import type { AccountCheck, Identity } from "./accounts.ts";
import { readEnvironmentFile } from "./environment-file.ts";
import type { Path, Report } from "./problem.ts";
import type { ServiceFile } from "./schema.ts";
import { checkExternal } from "./semantics-external.ts";
import { suggestion } from "./suggest.ts";
import type { Draft } from "./validate.ts";
import { checkDeploy, type ListenerKinds, positive } from "./semantics-deploy.ts";
import { parseDuration } from "./values.ts";

type ServiceDraft = Draft<ServiceFile>;

interface Tools {
  readonly report: Report;
  readonly accounts: AccountCheck;
  readonly self: Identity;
  readonly kinds: ListenerKinds;
}

export function checkService(path: Path, service: ServiceDraft, tools: Tools): void {
  const { report, accounts, self, kinds } = tools;
  if (service.command?.[0] === "") {
    report.wrong(
      [...path, "command", 0],
      "the program is empty text; nothing can be started; name a program",
    );
  }
  checkExternal(path, service, self, report);
  checkDirectory(path, service, report);
  checkEnvironment(path, service, report);
  accounts.runnable([...path, "user"], service.user);
  accounts.joinable([...path, "group"], service.group);
  (service.groups ?? []).forEach((group, index) => accounts.joinable([...path, "groups", index], group));
  accounts.principal([...path, "external", "allow"], service.external?.allow);
  if (service.nice !== undefined && service.nice < 0 && self.uid !== 0) {
    report.wrong(
      [...path, "nice"],
      `${service.nice} is a raised priority, and only root can raise it; write 0 or more`,
    );
  }
  checkLimits(path, service, report);
  checkReady(path, service, report);
  checkVerify(path, service, report);
  checkDeploy(path, service, kinds, report);
  positive([...path, "drain", "timeout"], service.drain?.timeout, report);
  checkOutput([...path, "output"], service.output, report);
}

function checkDirectory(path: Path, service: ServiceDraft, report: Report): void {
  const directory = service.directory ?? "";
  for (const [placeholder] of directory.matchAll(/\{[^{}]*\}/gu)) {
    if (placeholder === "{version}") continue;
    report.wrong(
      [...path, "directory"],
      `${placeholder} is not known; only {version} is filled in; correct or remove it`,
    );
  }
  if (directory.includes("{version}") && !("version" in service)) {
    report.wrong(
      [...path, "directory"],
      '{version} is used and there is no "version"; the first start would not know where to run; add version: "…"',
    );
  }
}

function checkEnvironment(path: Path, service: ServiceDraft, report: Report): void {
  for (const name of Object.keys(service.environment ?? {})) {
    if (!/^(LISTEN_(FDS|PID|FDNAMES)|NOTIFY_SOCKET|WATCHDOG_(PID|USEC)|HANDOFF_.*)$/u.test(name)) continue;
    report.wrongKey(
      [...path, "environment", name],
      `${name} is set by handoffd for each instance; a value here would be lost; remove it`,
    );
  }
  const file = service.environment_file;
  if (file === undefined) return;
  try {
    readEnvironmentFile(file);
  } catch (error) {
    report.wrong([...path, "environment_file"], messageOf(error));
  }
}

function checkLimits(path: Path, service: ServiceDraft, report: Report): void {
  for (const [name, limit] of Object.entries(service.limits ?? {})) {
    if (typeof limit !== "object") continue;
    const { soft, hard } = limit;
    if (soft === undefined || hard === undefined || hard === "infinity") continue;
    if (soft === "infinity" || soft > hard) {
      report.wrong(
        [...path, "limits", name],
        `the soft limit ${soft} is above the hard limit ${hard}, which the kernel refuses; lower soft or raise hard`,
      );
    }
  }
}

function checkReady(path: Path, service: ServiceDraft, report: Report): void {
  const ready = service.ready;
  if (ready?.by === undefined) return;
  positive([...path, "ready", "timeout"], ready.timeout, report);
  switch (ready.by) {
    case "notify":
      return;
    case "delay": {
      const { after, timeout } = ready;
      if (after === undefined || timeout === undefined || parseDuration(after) < parseDuration(timeout))
        return;
      report.wrong(
        [...path, "ready", "timeout"],
        `the timeout ${timeout} ends before the delay ${after} is over; no instance could become ready; make it longer`,
      );
      return;
    }
    case "listening":
    case "http":
      checkListenerOf([...path, "ready"], ready.listener, `by: ${ready.by}`, service, report);
  }
}

/** A proof by connection needs a listener of the service; its first, where none is named. */
function checkListenerOf(
  path: Path,
  listener: string | undefined,
  what: string,
  service: ServiceDraft,
  report: Report,
): void {
  const own = (service.listeners ?? []).filter((name) => name !== undefined);
  if (own.length === 0) {
    // A list that was wrong has been reported, and is not the same as none.
    if ("listeners" in service && service.listeners?.length !== 0) return;
    report.wrong(
      path,
      `${what} needs a listener, and the service has none; add listeners: or use another proof`,
    );
  } else if (listener !== undefined && !own.includes(listener)) {
    report.wrong(
      [...path, "listener"],
      `"${listener}" is not a listener of this service; its generations would not answer there; ${suggestion(listener, own)}`,
    );
  }
}

function checkVerify(path: Path, service: ServiceDraft, report: Report): void {
  (service.verify ?? []).forEach((check, index) => {
    if (check === undefined) return;
    const at = [...path, "verify", index];
    positive([...at, "timeout"], check.timeout, report);
    const both = "http" in check && "command" in check;
    if (both || !("http" in check || "command" in check)) {
      report.wrong(
        at,
        `a check is http: or command:, and this has ${both ? "both" : "neither"}; ${both ? "make two entries of it" : "add one"}`,
      );
      return;
    }
    if (check.command?.[0] === "")
      report.wrong(
        [...at, "command", 0],
        "the program is empty text; nothing can be started; name a program",
      );
    if (check.http !== undefined)
      checkListenerOf([...at, "http"], check.http.listener, "http", service, report);
  });
}

function checkOutput(path: Path, output: string | undefined, report: Report): void {
  if (output === undefined || output === "inherit" || output === "journal" || isAbsolute(output)) return;
  report.wrong(
    path,
    `"${output}" is neither inherit, journal nor an absolute path; a relative one would depend on where the daemon was started; ${suggestion(output, ["inherit", "journal"])}`,
  );
}
