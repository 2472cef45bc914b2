/** Learns the facts: tries what the kernel can do with sockets of its own, reads /proc, asks systemd. Changes nothing. */
import { readdirSync, readFileSync, statSync } from "node:fs";
import { release } from "node:os";
import { hasCode, messageOf } from "../../handoff/coded-error.ts";
import { encode, RET_K } from "../../handoff/classic-bpf.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native, SO, TCP } from "../../handoff/native.ts";
import type { Config } from "../config/config.ts";
import { type Application, ownSocketsOf } from "./applications.ts";
import type { Facts, FileFact, FileFacts, KernelFacts, LimitFacts, SysctlFacts, Trial } from "./facts.ts";
import { unitFacts } from "./unit.ts";

export interface Subject {
  readonly config: Config | null;
  readonly configProblem: string | null;
  /** What runs; empty without a daemon. */
  readonly applications: readonly Application[];
  /** The inodes of the sockets that were handed over. */
  readonly given: ReadonlySet<number>;
}

/** Where no mark is configured, one of the same range is tried. */
const ANY_MARK = 0x4a0000;

export async function gather({ config, configProblem, applications, given }: Subject): Promise<Facts> {
  return {
    config,
    configProblem,
    kernel: kernelFacts(config?.marks?.base ?? ANY_MARK),
    sysctls: sysctlFacts(),
    limits: limitFacts(),
    self: { uid: process.geteuid?.() ?? 0, pid: process.pid },
    unit: await unitFacts(process.env),
    files: fileFacts(config),
    ownSockets: await ownSocketsOf(applications, given),
  };
}

function kernelFacts(mark: number): KernelFacts {
  return {
    release: release(),
    reuseportFilter: tried(() => {
      using socket = new Descriptor(native.socket("inet", "stream", true));
      native.setOption(socket.fd, SO.SOL_SOCKET, SO.SO_REUSEPORT, 1);
      native.bind(socket.fd, { family: "inet", host: "127.0.0.1", port: 0 });
      native.listen(socket.fd, 1);
      native.attachReuseportFilter(socket.fd, encode([{ code: RET_K, jt: 0, jf: 0, k: 0 }]));
    }),
    pidfd: tried(() => {
      using socket = new Descriptor(native.socket("unix", "stream", true));
      using self = new Descriptor(native.pidfdOpen(process.pid));
      new Descriptor(native.pidfdGetfd(self.fd, socket.fd)).close();
    }),
    peerPidfd: tried(() => {
      const [one, other] = native.seqpacketPair();
      using left = new Descriptor(one);
      using _right = new Descriptor(other);
      new Descriptor(native.getOption(left.fd, SO.SOL_SOCKET, SO.SO_PEERPIDFD)).close();
    }),
    socketDiag: tried(() => void native.diagSockets("inet", 1 << TCP.SYN_RECV, 0)),
    mark: tried(() => {
      using socket = new Descriptor(native.socket("inet", "stream", true));
      native.setOption(socket.fd, SO.SOL_SOCKET, SO.SO_MARK, mark);
    }),
  };
}

function tried(attempt: () => void): Trial {
  try {
    attempt();
    return null;
  } catch (error) {
    return messageOf(error);
  }
}

function sysctlFacts(): SysctlFacts {
  const net = "/proc/sys/net";
  const somaxconn = read(`${net}/core/somaxconn`);
  const migrate = read(`${net}/ipv4/tcp_migrate_req`);
  const [first, last] = (read(`${net}/ipv4/ip_local_port_range`) ?? "").split(/\s+/u).map(Number);
  return {
    somaxconn: somaxconn === null ? null : Number(somaxconn),
    migrateRequests: migrate === null ? null : migrate !== "0",
    routeLocalnet: names(`${net}/ipv4/conf`).filter(
      (name) => read(`${net}/ipv4/conf/${name}/route_localnet`) === "1",
    ),
    localPorts: first === undefined || last === undefined ? null : [first, last],
    reservedPorts: parseRanges(read(`${net}/ipv4/ip_local_reserved_ports`) ?? ""),
  };
}

/** `8080,9148-9150`, as the kernel writes it. */
export function parseRanges(text: string): readonly (readonly [number, number])[] {
  return text.split(",").flatMap((range) => {
    const [, from, to = from] = /^(\d+)(?:-(\d+))?$/u.exec(range.trim()) ?? [];
    return from === undefined ? [] : [[Number(from), Number(to)] as const];
  });
}

function limitFacts(): LimitFacts {
  const limits = read("/proc/self/limits") ?? "";
  const group = /^0::(.*)$/mu.exec(read("/proc/self/cgroup") ?? "")?.[1];
  const [max, current] = ["max", "current"].map((name) => read(`/sys/fs/cgroup${group ?? ""}/pids.${name}`));
  return {
    openFiles: softLimit(limits, "Max open files"),
    processes: softLimit(limits, "Max processes"),
    tasks: max == null || current == null ? null : { max: number(max), current: Number(current) },
  };
}

/** Of /proc/PID/limits: NAME, soft, hard, unit, in columns. */
export function softLimit(limits: string, name: string): number {
  const [, soft = "unlimited"] = new RegExp(`^${name} +(\\S+)`, "mu").exec(limits) ?? [];
  return number(soft);
}

function number(text: string): number {
  return /^\d+$/u.test(text) ? Number(text) : Infinity;
}

function fileFacts(config: Config | null): FileFacts {
  return {
    runtime: fileFact(config?.paths.runtime),
    state: fileFact(config?.paths.state),
    config: fileFact(config?.file),
    socket: fileFact(config?.admin.socket.path),
    tokens: fileFact(config?.admin.http?.tokens),
  };
}

function fileFact(path: string | null | undefined): FileFact | null {
  if (path == null) return null;
  try {
    const { uid, mode } = statSync(path);
    return { path, uid, mode: mode & 0o7777 };
  } catch (error) {
    if (hasCode(error, "ENOENT", "EACCES", "ENOTDIR")) return null;
    throw error;
  }
}

/** null: this kernel, or this sandbox, has no such file. */
function read(path: string): string | null {
  try {
    return readFileSync(path, "latin1").trim();
  } catch {
    return null;
  }
}

function names(directory: string): readonly string[] {
  try {
    return readdirSync(directory);
  } catch {
    return [];
  }
}
