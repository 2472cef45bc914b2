/** The unit as systemd has it. Asked by `systemctl show`, which answers any user. */
import { readFileSync } from "node:fs";
import { late } from "../../handoff/late.ts";
import type { UnitFacts } from "./facts.ts";
import { unitOf } from "../systemd.ts";

const ASK_MS = 5_000;
/** Where no daemon runs: the unit of the package. */
const USUAL_UNIT = "handoffd.service";
const PROPERTIES = [
  "LoadState",
  "Type",
  "NotifyAccess",
  "KillMode",
  "Restart",
  "TimeoutStopUSec",
  "FileDescriptorStoreMax",
  "NeedDaemonReload",
  "ExecStopPost",
  "MainPID",
] as const;

/** null where there is no systemd, or no such unit. */
export async function unitFacts(environment: NodeJS.ProcessEnv): Promise<UnitFacts | null> {
  const own = unitOf(readFileSync("/proc/self/cgroup", "utf8"));
  const name = environment["NOTIFY_SOCKET"] === undefined || own === null ? USUAL_UNIT : own;
  const whose = environment["MANAGERPID"] === undefined ? [] : ["--user"];
  const [shown, version] = await Promise.all([
    systemctl([
      ...whose,
      "show",
      name,
      "--no-pager",
      ...PROPERTIES.map((property) => `--property=${property}`),
    ]),
    systemctl(["--version"]),
  ]);
  return shown === null ? null : parseUnit(name, shown, version, process.pid);
}

/** `shown`: NAME=VALUE, one a line. null for a unit that is not there. */
export function parseUnit(
  name: string,
  shown: string,
  version: string | null,
  pid: number,
): UnitFacts | null {
  const words = new Map(
    shown.split("\n").map((line) => [line.split("=")[0] ?? "", line.slice(line.indexOf("=") + 1)]),
  );
  if (words.get("LoadState") !== "loaded") return null;
  const systemd = /^systemd (\d+)/u.exec(version ?? "")?.[1];
  return {
    name,
    isOurs: words.get("MainPID") === String(pid),
    systemd: systemd === undefined ? null : Number(systemd),
    type: words.get("Type") ?? "",
    notifyAccess: words.get("NotifyAccess") ?? "",
    killMode: words.get("KillMode") ?? "",
    restart: words.get("Restart") ?? "",
    stopTimeoutS: seconds(words.get("TimeoutStopUSec") ?? ""),
    fdstoreMax: Number(words.get("FileDescriptorStoreMax") ?? 0),
    needsReload: words.get("NeedDaemonReload") === "yes",
    hasStopPost: (words.get("ExecStopPost") ?? "") !== "",
  };
}

const UNITS: Readonly<Record<string, number>> = {
  us: 1e-6,
  ms: 1e-3,
  s: 1,
  min: 60,
  h: 3600,
  d: 86_400,
  w: 604_800,
};

/** systemd.time(7), as systemctl writes it: `1min 30s`, `infinity`. */
function seconds(text: string): number {
  if (text === "infinity") return Infinity;
  return [...text.matchAll(/(\d+)([a-z]+)/gu)].reduce(
    (total, [, count = "0", unit = "s"]) => total + Number(count) * (UNITS[unit] ?? 0),
    0,
  );
}

/** null where it is not there, or fails. */
function systemctl(args: readonly string[]): Promise<string | null> {
  return new Promise((resolve) => {
    late.childProcess.execFile(
      "systemctl",
      args,
      { timeout: ASK_MS, killSignal: "SIGKILL" },
      (error, stdout) => {
        resolve(error === null ? stdout : null);
      },
    );
  });
}
