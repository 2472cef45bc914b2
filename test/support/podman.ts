/**
 * podman with storage, settings and state of a test's own: the machine's images and containers are not seen, and nothing of
 * the test's is left.
 *
 * ```ts
 * await using podman = await Podman.open();
 * await podman.run("run", "--detach", "--network=none", "localhost/app:blue");
 * ```
 */
import { execFileSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { eventually, processesOf } from "./processes.ts";
import { run, type Said, tried } from "./run.ts";

const RUN_MS = 120_000;
/** What is needed, and where it comes from (Debian). runc, since crun wants a control group of version 2 alone. */
const TOOLS = { podman: "podman", conmon: "conmon", runc: "runc", netavark: "netavark" } as const;

export class Podman implements AsyncDisposable {
  readonly folder: string;
  readonly #storage: string;
  /** What runs. podman remembers the place with its storage, and takes no other. */
  readonly #state: string;

  private constructor(folder: string, storage: string) {
    this.folder = folder;
    this.#storage = storage;
    this.#state = `${storage}.state`;
  }

  /** `storage`: a folder of images that stay, for builds whose layers are worth keeping. Default: of the test's own. */
  static open(storage?: string): Podman {
    const why = whyNoPodman();
    if (why !== null) throw new Error(why);
    const folder = mkdtempSync(`${tmpdir()}/hd-pod-`);
    const podman = new Podman(folder, storage ?? `${folder}/storage`);
    mkdirSync(`${folder}/bin`);
    writeFileSync(`${folder}/containers.conf`, settings());
    writeFileSync(podman.program, podman.#script());
    chmodSync(podman.program, 0o755);
    return podman;
  }

  /** A `podman` that knows where this one's things are: for scripts, by PATH. */
  get program(): string {
    return `${this.folder}/bin/podman`;
  }

  get path(): string {
    return `${this.folder}/bin:${process.env["PATH"] ?? ""}`;
  }

  #script(): string {
    const places = [`--root=${this.#storage}`, `--runroot=${this.#state}/run`, `--tmpdir=${this.#state}/tmp`];
    return [
      "#!/bin/sh",
      `CONTAINERS_CONF=${this.folder}/containers.conf exec /usr/bin/podman ${places.join(" ")} "$@"`,
      "",
    ].join("\n");
  }

  /** Throws unless it exits with 0. Returns what it says. */
  async run(...words: readonly string[]): Promise<string> {
    return (await run(this.program, words, { deadlineMs: RUN_MS })).stdout.trim();
  }

  /** What it exits with is the caller's to judge. */
  tried(words: readonly string[]): Promise<Said> {
    return tried(this.program, words, { deadlineMs: RUN_MS });
  }

  /** The pid of a container's first process, on this host; null when there is no such container, or it does not run. */
  async pidOf(name: string): Promise<number | null> {
    const { code, stdout } = await this.tried(["inspect", "--format={{.State.Pid}}", name]);
    return code === 0 && stdout.trim() !== "0" ? Number(stdout) : null;
  }

  async names(): Promise<string[]> {
    return (await this.run("ps", "--format={{.Names}}")).split("\n").filter((name) => name !== "");
  }

  /** Ends every container, and removes what is in the test's folder. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.tried(["rm", "--all", "--force", "--time=0"]);
    // What has watched the containers ends a moment after them.
    await eventually("the end of podman's processes", () => processesOf(this.#state).length === 0);
    // The store of layers is mounted on itself.
    execFileSync("sh", ["-c", `! mountpoint -q "$1" || umount "$1"`, "sh", `${this.#storage}/overlay`]);
    for (const folder of [this.#state, this.folder]) rmSync(folder, { recursive: true, force: true });
  }
}

/** What stands in the way of containers on this machine, in a sentence; null: nothing. */
function whyNoPodman(): string | null {
  if (process.getuid?.() !== 0) return "running containers needs root";
  const folders = [...(process.env["PATH"] ?? "").split(":"), "/usr/sbin", "/usr/lib/podman"];
  const missing = Object.entries(TOOLS).filter(([tool]) => !folders.some((f) => existsSync(`${f}/${tool}`)));
  if (missing.length === 0) return null;
  const packages = missing.map(([, name]) => name).join(" ");
  return `${missing.map(([tool]) => tool).join(", ")} is missing (apt-get install ${packages})`;
}

/** Limits that this process may give away: a root without CAP_SYS_RESOURCE cannot raise its own. */
function settings(): string {
  const limits = readFileSync("/proc/self/limits", "utf8");
  const hard = (name: string, wanted: number): number => {
    const found = Number(new RegExp(`^Max ${name} +\\S+ +(\\d+)`, "mu").exec(limits)?.[1] ?? wanted);
    return Math.min(found, wanted);
  };
  const nofile = hard("open files", 65_536);
  const nproc = hard("processes", 4_096);
  return `[containers]
default_ulimits = ["nofile=${nofile}:${nofile}", "nproc=${nproc}:${nproc}"]
log_driver = "k8s-file"
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "none"
[engine.runtimes]
runc = ["/usr/sbin/runc", "/usr/bin/runc"]
[network]
network_backend = "netavark"
`;
}
