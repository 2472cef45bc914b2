/**
 * Clients with addresses of their own choice, and the slots of a real listener that they reach. Loopback has one IPv6 address, and of
 * IPv4 only 127.0.0.0/8: so they and the listener live in a network namespace in which every address is local.
 */
import type { Readable } from "node:stream";
import { text } from "node:stream/consumers";
import { compileSteering, type Share } from "../../handoff/steering.ts";
import { parseNetworks } from "../../handoff/network.ts";
import { root } from "../support/paths.ts";
import { start, withDeadline } from "../support/processes.ts";
import { packetFrom, run } from "./cbpf.ts";

const DEADLINE_MS = 60_000;

/** Routes for addresses of all kinds, and leave to bind to them. */
const NAMESPACE = `
set -e
ip link set lo up
for network in 10.0.0.0/8 203.0.113.0/24; do ip route add local $network dev lo; done
for network in 2000::/3 fc00::/7; do ip -6 route add local $network dev lo; done
echo 1 > /proc/sys/net/ipv6/ip_nonlocal_bind
exec "$@"`;

export interface Step {
  readonly shares: readonly Share[];
  readonly sticky: number | null;
  readonly guests: { readonly slot: number; readonly networks: readonly string[] } | null;
  readonly sources: readonly string[];
  /** Connections of each source. */
  readonly times: number;
}

/** For each step and each of its sources: the slots that its connections reached. The programs are those of dist/. */
export async function reached(
  address: string,
  slots: number,
  steps: readonly Step[],
): Promise<readonly (readonly (readonly number[])[])[]> {
  const isolation = process.getuid?.() === 0 ? ["--net"] : ["--net", "--user", "--map-root-user"];
  const script = `${root}/test/fixtures/clients-from-anywhere.mjs`;
  const { child, exit } = start(
    "unshare",
    [...isolation, "--", "sh", "-c", NAMESPACE, "sh", process.execPath, script],
    { stdio: ["pipe", "pipe", "pipe"] },
  );
  const read = async (stream: Readable | null): Promise<string> => (stream === null ? "" : text(stream));
  const said = Promise.all([read(child.stdout), read(child.stderr)]);
  child.stdin?.on("error", () => undefined); // It has ended; its exit says more.
  child.stdin?.end(JSON.stringify({ address, slots, steps }));
  const [{ code }, [out, err]] = await withDeadline(
    Promise.all([exit, said]),
    DEADLINE_MS,
    "clients in a network namespace",
  );
  if (code !== 0) {
    throw new Error(`it needs a network namespace (as root, or with user namespaces) and iproute2: ${err}`);
  }
  return JSON.parse(out) as number[][][];
}

/** What `reached` has to say of one connection of each source, by the interpreter. For a step that leaves nothing to chance. */
export function expected(address: string, slots: number, step: Step): number[] {
  const { shares, sticky, guests, sources } = step;
  const program = compileSteering({
    family: address.includes("[") ? "inet6" : "inet",
    slots,
    shares,
    pins: true,
    sticky,
    guests: guests === null ? null : { slot: guests.slot, networks: parseNetworks(guests.networks) },
  });
  return sources.map((source) => run(program, packetFrom(source)));
}
