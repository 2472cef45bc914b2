/** handoffd as a unit of the systemd in a box: installed as packaging/ has it, configured, asked. */
import { readFileSync } from "node:fs";
import { request } from "node:http";
import { text } from "node:stream/consumers";
import { stringify } from "yaml";
import type { Config } from "../daemon.ts";
import { startLoad, type Load, type LoadOptions } from "../load.ts";
import { root } from "../paths.ts";
import { eventually } from "../processes.ts";
import type { Deploy, ServiceStatus, Status } from "../status.ts";
import type { Box } from "./box.ts";

const UNIT = "handoffd.service";
const FOLDER = "/etc/systemd/system";
const SOCKET = "/run/handoffd/admin.sock";
const DROP_IN = `${FOLDER}/${UNIT}.d`;

export class Unit {
  readonly box: Box;

  private constructor(box: Box) {
    this.box = box;
  }

  /** As a package has installed it. */
  static of(box: Box): Unit {
    return new Unit(box);
  }

  /** Installs the unit with the drop-ins that this systemd understands. */
  static async install(box: Box, drops: readonly string[] = []): Promise<Unit> {
    const packaged = (name: string): string => readFileSync(`${root}/packaging/systemd/${name}`, "utf8");
    for (const name of [UNIT, "handoffd-leftovers.service"]) box.write(`${FOLDER}/${name}`, packaged(name));
    for (const name of drops) box.write(`${DROP_IN}/${name}`, packaged(`${UNIT}.d/${name}`));
    await box.run("systemctl", "daemon-reload");
    return new Unit(box);
  }

  configure(config: Config): void {
    this.box.write("/etc/handoffd/handoffd.yaml", stringify(config));
  }

  /** Adds to the [Service] section, for one scenario; null takes it away. */
  async override(lines: string | null): Promise<void> {
    const file = `${DROP_IN}/99-test.conf`;
    if (lines === null) this.box.remove(file);
    else this.box.write(file, `[Service]\n${lines}\n`);
    await this.box.run("systemctl", "daemon-reload");
  }

  /** `systemctl VERB handoffd`. Throws with the unit's last lines when it fails. */
  async systemctl(...words: readonly string[]): Promise<void> {
    const { code, stderr } = await this.box.tried("systemctl", ...words, UNIT);
    if (code !== 0) throw new Error(`systemctl ${words.join(" ")}: ${stderr}\n${await this.tail()}`);
  }

  async tail(): Promise<string> {
    return this.box.run("journalctl", "--no-pager", "-n", "40", "-o", "cat", "-u", UNIT);
  }

  show(property: string): Promise<string> {
    return this.box.show(UNIT, property);
  }

  async mainPid(): Promise<number> {
    return Number(await this.show("MainPID"));
  }

  /** Every process of the unit, without the daemon, by pid in the box. */
  async others(): Promise<number[]> {
    const group = await this.show("ControlGroup");
    const script = `cat $(find /sys/fs/cgroup${group || "/none"} -name cgroup.procs 2>/dev/null) /dev/null`;
    const daemon = await this.mainPid();
    const pids = (await this.box.run("sh", "-c", script)).split("\n").filter((line) => line !== "");
    return pids.map(Number).filter((pid) => pid !== daemon);
  }

  async status(): Promise<Status> {
    return (await this.#get("/v1/status")) as Status;
  }

  async service(name = "api"): Promise<ServiceStatus> {
    const found = (await this.status()).services.find((service) => service.name === name);
    if (found === undefined) throw new Error(`no service "${name}"`);
    return found;
  }

  /** The pids of the current generation's instances, in the box. */
  async instances(name = "api"): Promise<number[]> {
    const { generations, current } = await this.service(name);
    return generations.find(({ number }) => number === current)?.instances.map(({ pid }) => pid) ?? [];
  }

  /** Waits until a daemon other than `before` answers, and every service runs. */
  async untilRunning(before = 0): Promise<Status> {
    return eventually(
      "a daemon whose services run",
      async () => {
        try {
          const status = await this.status();
          const isDone = status.pid !== before && status.services.every(({ state }) => state === "running");
          return isDone ? status : undefined;
        } catch {
          return undefined; // It does not listen yet.
        }
      },
      30_000,
    );
  }

  async deploy(version: string, service = "api"): Promise<Deploy> {
    const deploy = (await this.#ask("POST", `/v1/services/${service}/deploys`, { version })) as Deploy;
    return eventually(
      `the end of ${deploy.id}`,
      async () => {
        const now = (await this.#get(`/v1/deploys/${deploy.id}`)) as Deploy;
        return now.finishedAt === null ? undefined : now;
      },
      30_000,
    );
  }

  /** The daemon is told to replace itself, and is about to. */
  async beginUpgrade(): Promise<void> {
    await this.#ask("POST", "/v1/upgrade");
  }

  /** The admin socket, as a client outside of the box reaches it. */
  get socket(): string {
    return `unix:${this.box.path(SOCKET)}`;
  }

  load(options: Omit<LoadOptions, "networkOf">): Load {
    return startLoad({ ...options, networkOf: this.box.pid });
  }

  #get(path: string): Promise<unknown> {
    return this.#ask("GET", path);
  }

  #ask(method: string, path: string, body?: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const outgoing = request({
        socketPath: this.box.path(SOCKET),
        method,
        path,
        agent: false,
        signal: AbortSignal.timeout(10_000),
        ...(body === undefined ? {} : { headers: { "content-type": "application/json" } }),
      });
      outgoing.once("error", reject);
      outgoing.once("response", (response) => {
        text(response).then((said) => {
          if ((response.statusCode ?? 0) < 300) resolve(JSON.parse(said));
          else reject(new Error(`${method} ${path}: ${response.statusCode ?? 0} ${said}`));
        }, reject);
      });
      outgoing.end(body === undefined ? undefined : JSON.stringify(body));
    });
  }
}
