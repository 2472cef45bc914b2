/**
 * A real systemd as PID 1 in a container (systemd-nspawn) with a network of its own, over a root that is not written to. The build of
 * this checkout is copied into it, unless it is to be clean. Only what it started is ended.
 *
 * ```ts
 * await using box = await Box.boot(257);
 * box.write("/etc/handoffd/handoffd.yaml", "…");
 * await box.run("systemctl", "start", "handoffd");
 * ```
 */
import {
  chmodSync,
  cpSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmdirSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { basename, dirname } from "node:path";
import { text } from "node:stream/consumers";
import type { Readable } from "node:stream";
import { root } from "../paths.ts";
import {
  childrenOf,
  end,
  environment,
  eventually,
  killOne,
  start,
  withDeadline,
  type Process,
} from "../processes.ts";
import { rootOf, runtimePackages, type SystemdVersion } from "./root.ts";

const BOOT_MS = 60_000;
const RUN_MS = 120_000;
/** Where the checkout's copy is, in the box. */
const HOME = "/opt/handoffd";

/**
 * nspawn wants nothing but version 2 of control groups: in a mount namespace of its own that is so. It gets a group of its own,
 * below which systemd makes its tree. What a process may ask of another is as on a host, too.
 */
const BOOT = `
  set -e
  umount -R -l /sys/fs/cgroup 2>/dev/null || true
  mount -t cgroup2 cgroup2 /sys/fs/cgroup
  mount -t tmpfs tmpfs /run
  mkdir -p "/sys/fs/cgroup/$BOX_NAME"
  echo $$ >"/sys/fs/cgroup/$BOX_NAME/cgroup.procs"
  exec systemd-nspawn --quiet --directory="$BOX_ROOT" --volatile=overlay --boot --machine="$BOX_NAME" \\
    --register=no --keep-unit --console=pipe --link-journal=no --kill-signal=SIGRTMIN+3 --private-network \\
    --system-call-filter=pidfd_getfd \\
    systemd.mask=systemd-logind.service systemd.mask=getty.target systemd.mask=console-getty.service
`;

export interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export class Box implements AsyncDisposable {
  readonly #supervisor: Process;
  readonly #name: string;
  readonly #folder: string;
  /** The pid of the box's PID 1, outside of it. */
  readonly pid: number;

  private constructor(supervisor: Process, name: string, folder: string, pid: number) {
    this.#supervisor = supervisor;
    this.#name = name;
    this.#folder = folder;
    this.pid = pid;
  }

  static async boot(version: SystemdVersion, content: "build" | "clean" = "build"): Promise<Box> {
    const debian = await rootOf(version);
    const folder = mkdtempSync(`${tmpdir()}/hd-box-`);
    const name = basename(folder);
    const supervisor = start("unshare", ["--mount", "--propagation", "private", "sh", "-c", BOOT], {
      env: environment({ BOX_ROOT: debian, BOX_NAME: name }),
      stdio: ["ignore", "pipe", "pipe"],
      detached: true,
    });
    let said = "";
    for (const stream of [supervisor.child.stdout, supervisor.child.stderr]) {
      stream?.setEncoding("utf8").on("data", (chunk: string) => (said += chunk));
    }
    try {
      // unshare, sh and nspawn are one process after the other; its only child is the box's PID 1.
      const pid = await eventually(`a box (${said})`, () => childOf(supervisor), BOOT_MS);
      const box = new Box(supervisor, name, folder, pid);
      await eventually("a booted systemd", () => box.#isBooted(), BOOT_MS);
      if (content === "build") box.#copyBuild();
      return box;
    } catch (error) {
      await end(supervisor);
      cleanUp(name, folder);
      throw new Error(`${error instanceof Error ? error.message : String(error)}\n${said}`, { cause: error });
    }
  }

  async #isBooted(): Promise<boolean> {
    const { stdout } = await this.#enter(["systemctl", "is-system-running"]);
    return /^(running|degraded)/u.test(stdout);
  }

  /** The path outside of a path inside. */
  path(inside: string): string {
    return `/proc/${this.pid}/root${inside}`;
  }

  write(inside: string, content: string, mode = 0o644): void {
    mkdirSync(this.path(dirname(inside)), { recursive: true });
    writeFileSync(this.path(inside), content);
    chmodSync(this.path(inside), mode);
  }

  remove(inside: string): void {
    rmSync(this.path(inside), { recursive: true, force: true });
  }

  /** Runs a command as root in the box. Throws unless it exits with 0. */
  async run(...command: readonly string[]): Promise<string> {
    const { code, stdout, stderr } = await this.#enter(command);
    if (code !== 0) throw new Error(`${command.join(" ")}: ${code ?? "a signal"}\n${stdout}${stderr}`);
    return stdout;
  }

  /** As `run`; what it exits with is the caller's to judge. */
  tried(...command: readonly string[]): Promise<Ran> {
    return this.#enter(command);
  }

  async #enter(command: readonly string[]): Promise<Ran> {
    const target = ["-t", String(this.pid), "-m", "-p", "-n", "-u", "-i", "-C", "-r", "-w", "--"];
    const process = start("nsenter", [...target, ...command], { stdio: ["ignore", "pipe", "pipe"] });
    const read = Promise.all([
      process.exit,
      text(process.child.stdout as Readable),
      text(process.child.stderr as Readable),
    ]);
    try {
      const [{ code }, stdout, stderr] = await withDeadline(read, RUN_MS, command.join(" "));
      return { code, stdout, stderr };
    } finally {
      process.kill("SIGKILL");
    }
  }

  /** A property of a unit, as `systemctl show` says it. */
  async show(unit: string, property: string): Promise<string> {
    return (await this.run("systemctl", "show", "-P", property, unit)).trim();
  }

  #copyBuild(): void {
    const inside = this.path(HOME);
    const parts = ["bin", "dist", "package.json", "packaging", "test/fixtures/apps", "build/Release"];
    for (const part of [...parts, ...runtimePackages(root)]) {
      mkdirSync(dirname(`${inside}/${part}`), { recursive: true });
      cpSync(`${root}/${part}`, `${inside}/${part}`, { recursive: true, filter: isWanted });
    }
    cpSync(process.execPath, this.path("/usr/bin/node"));
    for (const name of ["handoffd", "handoffctl"]) {
      symlinkSync(`${HOME}/bin/${name}`, this.path(`/usr/bin/${name}`));
    }
    mkdirSync(this.path("/usr/lib/handoffd"));
    symlinkSync(
      `${HOME}/packaging/systemd/handoffd-stop-post`,
      this.path("/usr/lib/handoffd/handoffd-stop-post"),
    );
  }

  /** Powers it off, and ends what does not end. */
  async [Symbol.asyncDispose](): Promise<void> {
    this.#supervisor.kill("SIGTERM");
    try {
      await withDeadline(this.#supervisor.exit, 20_000, "the box's end");
    } catch {
      killOne(this.pid); // A pid namespace ends with its first process.
      await end(this.#supervisor);
    }
    cleanUp(this.#name, this.#folder);
  }
}

/** The command line of a program of test/fixtures/apps, in a box. */
export function commandInBox(name: string): [string, string] {
  return ["/usr/bin/node", `${HOME}/test/fixtures/apps/${name}`];
}

function childOf(supervisor: Process): number | undefined {
  if (supervisor.child.exitCode !== null) throw new Error("the box has ended");
  return childrenOf(supervisor.pid).find((pid) => {
    try {
      return readFileSync(`/proc/${pid}/comm`, "utf8") === "systemd\n";
    } catch {
      return false; // One of the script's own, which has ended meanwhile.
    }
  });
}

function isWanted(path: string): boolean {
  return !path.includes("/obj.target/");
}

/** What a box leaves behind beside processes: its control group and its folder. */
function cleanUp(name: string, folder: string): void {
  for (const tree of ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"]) removeGroups(`${tree}/${name}`);
  rmSync(folder, { recursive: true, force: true });
}

/** Control groups are removed from the leaves on, and only when they are empty. */
function removeGroups(folder: string): void {
  try {
    for (const entry of readdirSync(folder, { withFileTypes: true })) {
      if (entry.isDirectory()) removeGroups(`${folder}/${entry.name}`);
    }
    rmdirSync(folder);
  } catch {
    // Not mounted here, or the box's end has removed it already.
  }
}
