/** Findings, and the checks that make them. docs/operations.md lists the checks; a test compares. */
import type { Finding } from "../../admin-api/schemas.ts";

/** Every check by its stable name, and what it is about. */
export const CHECKS = {
  "config.valid": "the configuration can be used",
  "kernel.reuseport-filter": "connections can be steered (SO_ATTACH_REUSEPORT_CBPF)",
  "kernel.pidfd": "processes can be watched and adopted (pidfd_open, pidfd_getfd)",
  "kernel.peer-pidfd": "who connects is known as a process (SO_PEERPIDFD)",
  "kernel.socket-diag": "queues and half-open handshakes can be seen (sock_diag)",
  "kernel.mark": "connections can be counted per generation (SO_MARK, CAP_NET_ADMIN)",
  "sysctl.somaxconn": "the kernel grants the backlog of every listener (net.core.somaxconn)",
  "sysctl.route-localnet": "nobody outside the host can claim a pin (net.ipv4.conf.*.route_localnet)",
  "sysctl.local-ports": "no connection going out can take a listener's port (net.ipv4.ip_local_port_range)",
  "sysctl.migrate-requests": "what becomes of a queue that nobody holds any more (net.ipv4.tcp_migrate_req)",
  "limits.open-files": "there are descriptors enough (RLIMIT_NOFILE)",
  "limits.processes": "there may be processes enough (RLIMIT_NPROC, pids.max)",
  "systemd.version": "systemd can hold the sockets (254)",
  "systemd.unit": "the unit is as its file says (daemon-reload)",
  "systemd.type": "systemd waits for the daemon to be ready (Type=)",
  "systemd.notify-access": "the daemon, and only it, speaks for the unit (NotifyAccess=)",
  "systemd.kill-mode": "the applications outlive the daemon (KillMode=)",
  "systemd.restart": "a daemon that ends comes back (Restart=)",
  "systemd.stop-post": "a stop ends what a crashed daemon has left (ExecStopPost=)",
  "systemd.stop-timeout": "a drain is waited for (TimeoutStopSec=)",
  "systemd.fdstore": "the store has room for every socket (FileDescriptorStoreMax=)",
  "access.directories": "the daemon's directories are its own",
  "access.socket": "who may connect to the admin socket",
  "access.secrets": "nobody else can write the configuration or read the tokens",
  "service.user": "services do not run as the daemon's user",
  "service.command": "commands do not lose the sockets on the way",
  "service.own-sockets": "applications listen on what they were given",
} as const;

export type Check = keyof typeof CHECKS;

export function ok(check: Check, finding: string): Finding {
  return { check, verdict: "ok", finding, fix: null };
}

/** Worth knowing; nothing is lost by it. */
export function note(check: Check, finding: string, fix: string): Finding {
  return { check, verdict: "note", finding, fix };
}

/** Something is not as it could be, or will not be under load. */
export function warning(check: Check, finding: string, fix: string): Finding {
  return { check, verdict: "warning", finding, fix };
}

/** A promise is not kept like this. */
export function problem(check: Check, finding: string, fix: string): Finding {
  return { check, verdict: "problem", finding, fix };
}
