/**
 * The daemon as a unit of systemd: what it says (sd_notify(3)), and whether it is being restarted. Without systemd nothing of this
 * happens.
 */
import { readFileSync } from "node:fs";
import type { Logger } from "pino";
import type { EventLog } from "../admin-api/events.ts";
import type { Status } from "../admin-api/schemas.ts";
import { messageOf } from "../handoff/coded-error.ts";
import { late } from "../handoff/late.ts";
import { Notifier } from "../handoff/service-manager.ts";

const ASK_MS = 2_000;
const STATUS_DELAY_MS = 100;
const EXTEND_EVERY_MS = 2_000;
/** More than the distance, so that one late message changes nothing. */
const EXTEND_BY_MS = 6_000;

export class ServiceManager {
  readonly #notifier: Notifier | null;
  readonly #environment: NodeJS.ProcessEnv;
  readonly #log: Logger;

  constructor(environment: NodeJS.ProcessEnv, log: Logger) {
    this.#notifier = Notifier.find(environment);
    this.#environment = environment;
    this.#log = log;
  }

  /** Sends assignments, one a line. A service manager that is deaf is no reason to end. */
  tell(state: string): void {
    if (this.#notifier === null) return;
    try {
      const isSent = this.#notifier.trySend(state);
      if (!isSent) this.#log.warn({ state }, "the service manager's queue is full: it was not told");
    } catch (error) {
      this.#log.warn({ err: error, state }, "the service manager could not be told");
    }
  }

  /** What `systemctl status` shows: `statusOf` a moment after each event, where that is another one. */
  follow(events: Pick<EventLog, "subscribe">, statusOf: () => string): void {
    if (this.#notifier === null) return;
    let last = "";
    let timer: NodeJS.Timeout | null = null;
    const tell = (): void => {
      timer = null;
      const status = statusOf();
      if (status !== last) this.tell(`STATUS=${status}`);
      last = status;
    };
    // Events come in groups, and a status counts connections: once for a group is enough.
    events.subscribe(() => (timer ??= setTimeout(tell, STATUS_DELAY_MS).unref()));
    tell();
  }

  /**
   * Says WATCHDOG=1 twice in each WatchdogSec=, as long as the event loop turns: by a timer of the loop itself. Returns what ends
   * it; null where no watchdog is asked for.
   */
  watchdog(): (() => void) | null {
    const { WATCHDOG_USEC: usec = "", WATCHDOG_PID: pid } = this.#environment;
    if (!/^[1-9]\d*$/u.test(usec) || (pid !== undefined && pid !== String(process.pid))) return null;
    const timer = setInterval(() => this.tell("WATCHDOG=1"), Number(usec) / 2_000);
    timer.unref();
    this.tell("WATCHDOG=1");
    return () => clearInterval(timer);
  }

  /**
   * Calls `reload` on SIGURG and SIGWINCH: signals that kill no process without a handler, for ReloadSignal=. Type=notify-reload
   * waits for the READY=1 behind RELOADING=1; a failure can be told by the status alone.
   */
  reloadBySignal(reload: () => Promise<unknown>): void {
    let last: Promise<void> = Promise.resolve();
    for (const signal of ["SIGURG", "SIGWINCH"] as const) {
      process.on(signal, () => {
        last = last.then(() => this.#reloading(reload));
      });
    }
  }

  async #reloading(reload: () => Promise<unknown>): Promise<void> {
    const usec = process.hrtime.bigint() / 1_000n; // CLOCK_MONOTONIC, as is asked for.
    this.tell(`RELOADING=1\nMONOTONIC_USEC=${usec}`);
    try {
      await reload();
      this.tell("READY=1");
    } catch (error) {
      this.#log.error({ err: error }, "the configuration was not reloaded; the old one holds");
      // Each line would be an assignment of its own.
      const why = messageOf(error).replace(/\s*\n\s*/gu, " ");
      this.tell(`READY=1\nSTATUS=not reloaded, the old configuration holds: ${why}`);
    }
  }

  /** STOPPING=1, and more time again and again (TimeoutStopSec= is then for a daemon that hangs, not for one that drains). */
  stopping(longestMs: number): void {
    this.tell("STOPPING=1");
    if (this.#notifier === null) return;
    const until = performance.now() + longestMs;
    const extend = (): void => {
      if (performance.now() > until) clearInterval(timer);
      else this.tell(`EXTEND_TIMEOUT_USEC=${EXTEND_BY_MS * 1_000}`);
    };
    const timer = setInterval(extend, EXTEND_EVERY_MS);
    timer.unref();
    extend();
  }

  /**
   * Whether this unit is being stopped only to be started again (`systemctl restart`, a package's upgrade). systemd tells nobody:
   * its queue of jobs is asked. false where it cannot be asked, which is the careful answer: then the daemon drains.
   */
  async isRestarting(): Promise<boolean> {
    if (this.#notifier === null) return false;
    const unit = unitOf(readFileSync("/proc/self/cgroup", "utf8"));
    if (unit === null) return false;
    const whose = this.#environment["MANAGERPID"] === undefined ? [] : ["--user"];
    const args = [...whose, "list-jobs", "--no-legend", "--plain", "--full", unit];
    try {
      return isRestart(await output("systemctl", args), unit);
    } catch (error) {
      this.#log.warn(
        { err: error, unit },
        "systemd was not asked whether this is a restart: it counts as a stop",
      );
      return false;
    }
  }
}

/** Who has started this unit: PID 1, or the user's own manager. It holds our sockets when its fdstore does. */
export function managerPid(): number {
  return Number(process.env["MANAGERPID"] ?? 1);
}

/** The unit of a process, by its /proc/PID/cgroup; null where it is in none. */
export function unitOf(cgroups: string): string | null {
  const line = cgroups.split("\n").find((each) => /^(0:|\d+:name=systemd):.*\.service/u.test(each));
  return line?.split("/").findLast((part) => part.endsWith(".service")) ?? null;
}

/** Whether a line of `systemctl list-jobs` is the unit's restart: JOB UNIT TYPE STATE. */
export function isRestart(jobs: string, unit: string): boolean {
  return jobs.split("\n").some((line) => {
    const [, name, type] = line.trim().split(/\s+/u);
    return name === unit && (type === "restart" || type === "start");
  });
}

/** One line about the whole, for `systemctl status`. */
export function statusLine({ services, listeners }: Pick<Status, "services" | "listeners">): string {
  const parts = services.map(({ name, state, generations, current, deploy }) => {
    const serving = generations.find(({ number }) => number === current);
    const version = serving?.version == null ? "" : `, version ${serving.version}`;
    const of = current === null ? "" : ` generation ${current}${version}`;
    const under = deploy === null ? "" : `, deploy ${deploy.phase}`;
    return `${name} ${state}${of}${under}`;
  });
  const all = parts.length === 0 ? "no services" : parts.join("; ");
  return `${all}; ${listeners.length} listener${listeners.length === 1 ? "" : "s"}`;
}

function output(file: string, args: readonly string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    late.childProcess.execFile(file, args, { timeout: ASK_MS, killSignal: "SIGKILL" }, (error, stdout) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${file} ${args.join(" ")} failed`, { cause: error }));
    });
  });
}
