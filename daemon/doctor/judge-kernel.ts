/** What the kernel can do, and how it is set. Pure. */
import type { Finding } from "../../admin-api/schemas.ts";
import type { ListenerConfig } from "../config/config.ts";
import type { Facts, KernelFacts, SysctlFacts } from "./facts.ts";
import { note, ok, problem, warning } from "./finding.ts";

export function judgeKernel({ kernel, sysctls, config }: Facts): readonly Finding[] {
  const listeners = config?.listeners ?? [];
  return [
    ...features(kernel),
    marks(kernel, config === null || config.marks !== null),
    ...backlogs(sysctls, listeners),
    routes(sysctls),
    ...localPorts(sysctls, listeners),
    ...migration(sysctls),
  ];
}

function features({
  release,
  reuseportFilter,
  pidfd,
  peerPidfd,
  socketDiag,
}: KernelFacts): readonly Finding[] {
  return [
    reuseportFilter === null
      ? ok("kernel.reuseport-filter", `Linux ${release} steers connections by a program`)
      : problem(
          "kernel.reuseport-filter",
          `Linux ${release} refuses a program for SO_REUSEPORT (${reuseportFilter}): no TCP listener can be steered`,
          "run Linux 4.5 or later, and let a sandbox or seccomp profile pass setsockopt(SO_ATTACH_REUSEPORT_CBPF)",
        ),
    pidfd === null
      ? ok("kernel.pidfd", "processes are watched by pidfd")
      : problem(
          "kernel.pidfd",
          `a process cannot be watched or its descriptors fetched (${pidfd})`,
          "run Linux 5.6 or later, and let a seccomp profile pass pidfd_open and pidfd_getfd",
        ),
    peerPidfd === null
      ? ok("kernel.peer-pidfd", "whoever connects is known as a process")
      : note(
          "kernel.peer-pidfd",
          `the process of whoever connects is known by its number only (${peerPidfd}), which is checked by its start time`,
          "Linux 6.5 has SO_PEERPIDFD; it matters for services with external: only",
        ),
    socketDiag === null
      ? ok("kernel.socket-diag", "the kernel's socket tables can be read")
      : problem(
          "kernel.socket-diag",
          `sock_diag does not answer (${socketDiag}): half-open handshakes cannot be seen, so a drain may reset them`,
          "load the modules inet_diag, tcp_diag and unix_diag; let a sandbox pass AF_NETLINK",
        ),
  ];
}

function marks({ mark }: KernelFacts, areWanted: boolean): Finding {
  if (!areWanted)
    return ok("kernel.mark", "marks are off: connections are not counted per generation, as configured");
  if (mark === null) return ok("kernel.mark", "connections are counted per generation, by their mark");
  return warning(
    "kernel.mark",
    `connections are not counted per generation: setting SO_MARK is refused (${mark})`,
    "give the daemon CAP_NET_ADMIN (AmbientCapabilities=CAP_NET_ADMIN beside User=), or say `marks: off`",
  );
}

function backlogs({ somaxconn }: SysctlFacts, listeners: readonly ListenerConfig[]): readonly Finding[] {
  if (somaxconn === null) return [];
  const largest = Math.max(0, ...listeners.map(({ backlog }) => backlog));
  const cut = listeners.filter(({ backlog }) => backlog > somaxconn).map(({ name }) => name);
  if (cut.length === 0)
    return [ok("sysctl.somaxconn", `net.core.somaxconn is ${somaxconn}, enough for every backlog`)];
  return [
    warning(
      "sysctl.somaxconn",
      `net.core.somaxconn is ${somaxconn}: the kernel cuts the backlog of ${cut.join(", ")} to that, so a short stall refuses sooner`,
      `sysctl -w net.core.somaxconn=${largest}, and the same in /etc/sysctl.d/; it holds from the next deploy`,
    ),
  ];
}

function routes({ routeLocalnet }: SysctlFacts): Finding {
  if (routeLocalnet.length === 0)
    return ok("sysctl.route-localnet", "no interface lets a loopback address in from outside");
  return warning(
    "sysctl.route-localnet",
    `route_localnet is on for ${routeLocalnet.join(", ")}: a client outside the host could claim a pin, so pins work only while verifying`,
    routeLocalnet.map((name) => `sysctl -w net.ipv4.conf.${name}.route_localnet=0`).join("; "),
  );
}

function localPorts(
  { localPorts: range, reservedPorts }: SysctlFacts,
  listeners: readonly ListenerConfig[],
): readonly Finding[] {
  if (range === null) return [];
  const [first, last] = range;
  const clashes = listeners.flatMap(({ name, address }) => {
    if (!("port" in address) || address.port < first || address.port > last) return [];
    const isReserved = reservedPorts.some(([from, to]) => address.port >= from && address.port <= to);
    return isReserved ? [] : [{ name, port: address.port }];
  });
  if (clashes.length === 0)
    return [
      ok(
        "sysctl.local-ports",
        `no listener has a port of ${first} to ${last}, which connections going out get`,
      ),
    ];
  const ports = clashes.map(({ port }) => port).join(",");
  return [
    warning(
      "sysctl.local-ports",
      `${clashes.map(({ name, port }) => `${name} (${port})`).join(", ")}: a connection going out may have this port when the daemon wants it at a start`,
      `sysctl -w net.ipv4.ip_local_reserved_ports=${ports} (with what it says already), and the same in /etc/sysctl.d/`,
    ),
  ];
}

/** handoffd closes no socket with a queue; this is for when everybody who holds one has ended. */
function migration({ migrateRequests }: SysctlFacts): readonly Finding[] {
  if (migrateRequests === null) return [];
  if (migrateRequests)
    return [ok("sysctl.migrate-requests", "a queue that nobody holds any more moves to another slot")];
  return [
    note(
      "sysctl.migrate-requests",
      "net.ipv4.tcp_migrate_req is 0: were the daemon, its keeper and the application to end together, what waits in their queue would be reset",
      "nothing has to be done; sysctl -w net.ipv4.tcp_migrate_req=1 lets another slot of the listener take it",
    ),
  ];
}
