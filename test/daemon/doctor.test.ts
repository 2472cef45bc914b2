import { readFileSync } from "node:fs";
import { createServer } from "node:net";
import { once } from "node:events";

import { expect, onTestFinished, test } from "vitest";

import { configFromArguments } from "../../daemon/config/arguments.ts";
import type { Config } from "../../daemon/config/config.ts";
import { ownSocketsOf } from "../../daemon/doctor/applications.ts";
import { diagnose } from "../../daemon/doctor/doctor.ts";
import { examineHost } from "../../daemon/doctor/examine.ts";
import type { Facts, OwnSocket, UnitFacts } from "../../daemon/doctor/facts.ts";
import { type Check, CHECKS } from "../../daemon/doctor/finding.ts";
import { gather, parseRanges, softLimit } from "../../daemon/doctor/gather.ts";
import { parseUnit } from "../../daemon/doctor/unit.ts";
import { CodedError } from "../../handoff/coded-error.ts";
import { native } from "../../handoff/native.ts";
import { root } from "../support/paths.ts";

const config: Config = configFromArguments(
  { listen: ["web=tcp:127.0.0.1:8080"], command: ["/usr/bin/app"], runtime: "/run/h", state: "/var/lib/h" },
  { environment: {}, accounts: native },
);

const unit: UnitFacts = {
  name: "handoffd.service",
  isOurs: true,
  systemd: 257,
  type: "notify",
  notifyAccess: "main",
  killMode: "process",
  restart: "always",
  stopTimeoutS: 30,
  fdstoreMax: 4096,
  needsReload: false,
  hasStopPost: true,
};

const file = { uid: 0, mode: 0o700 };

/** A host on which everything is as it should be. */
const healthy: Facts = {
  config: { ...config, services: config.services.map((service) => ({ ...service, user: "app" })) },
  configProblem: null,
  kernel: {
    release: "6.18.0",
    reuseportFilter: null,
    pidfd: null,
    peerPidfd: null,
    socketDiag: null,
    mark: null,
  },
  sysctls: {
    somaxconn: 65_535,
    migrateRequests: true,
    routeLocalnet: [],
    localPorts: [32_768, 60_999],
    reservedPorts: [],
  },
  limits: { openFiles: 524_288, processes: Infinity, tasks: null },
  self: { uid: 0, pid: 41 },
  unit,
  files: {
    runtime: { path: "/run/h", ...file },
    state: { path: "/var/lib/h", ...file },
    config: { path: "/etc/h.yaml", ...file },
    socket: { path: "/run/h/admin.sock", ...file },
    tokens: { path: "/etc/tokens", ...file },
  },
  ownSockets: [],
};

function verdicts(facts: Facts): readonly string[] {
  return diagnose(facts, "daemon").findings.flatMap(({ check, verdict }) =>
    verdict === "ok" ? [] : [`${verdict} ${check}`],
  );
}

test("nothing is found on a host on which everything is as it should be, and every check says so", () => {
  const { findings, healthy: isHealthy } = diagnose(healthy, "daemon");
  expect(verdicts(healthy)).toEqual([]);
  expect(isHealthy).toBe(true);
  expect(findings.map(({ check }) => check).sort()).toEqual(Object.keys(CHECKS).sort());
});

const own: OwnSocket = { service: "app", pid: 7, command: "node", host: "::", port: 9090 };
const withConfig = (change: (config: Config) => Partial<Config>): Partial<Facts> =>
  healthy.config === null ? {} : { config: { ...healthy.config, ...change(healthy.config) } };
const kernel = (change: Partial<Facts["kernel"]>): Partial<Facts> => ({
  kernel: { ...healthy.kernel, ...change },
});
const sysctls = (change: Partial<Facts["sysctls"]>): Partial<Facts> => ({
  sysctls: { ...healthy.sysctls, ...change },
});
const limits = (change: Partial<Facts["limits"]>): Partial<Facts> => ({
  limits: { ...healthy.limits, ...change },
});
const files = (change: Partial<Facts["files"]>): Partial<Facts> => ({
  files: { ...healthy.files, ...change },
});
const inUnit = (change: Partial<UnitFacts>): Partial<Facts> => ({ unit: { ...unit, ...change } });

const WRONG: readonly (readonly [string, Partial<Facts>, string, Check])[] = [
  ["a configuration that is wrong", { config: null, configProblem: "line 3" }, "problem", "config.valid"],
  [
    "no program for SO_REUSEPORT",
    kernel({ reuseportFilter: "EINVAL" }),
    "problem",
    "kernel.reuseport-filter",
  ],
  ["no pidfd", kernel({ pidfd: "ENOSYS" }), "problem", "kernel.pidfd"],
  ["no SO_PEERPIDFD", kernel({ peerPidfd: "ENOPROTOOPT" }), "note", "kernel.peer-pidfd"],
  ["no sock_diag", kernel({ socketDiag: "ENOENT" }), "problem", "kernel.socket-diag"],
  ["no CAP_NET_ADMIN", kernel({ mark: "EPERM" }), "warning", "kernel.mark"],
  ["a small somaxconn", sysctls({ somaxconn: 128 }), "warning", "sysctl.somaxconn"],
  ["route_localnet", sysctls({ routeLocalnet: ["eth0"] }), "warning", "sysctl.route-localnet"],
  [
    "a listener among the local ports",
    sysctls({ localPorts: [1024, 9000] }),
    "warning",
    "sysctl.local-ports",
  ],
  ["tcp_migrate_req=0", sysctls({ migrateRequests: false }), "note", "sysctl.migrate-requests"],
  ["1024 descriptors and many instances", { ...limits({ openFiles: 256 }) }, "warning", "limits.open-files"],
  ["few tasks", limits({ tasks: { max: 512, current: 500 } }), "warning", "limits.processes"],
  [
    "few processes of a user",
    {
      ...limits({ processes: 50 }),
      self: { uid: 1, pid: 1 },
      files: { runtime: null, state: null, config: null, socket: null, tokens: null },
    },
    "warning",
    "limits.processes",
  ],
  ["an old systemd", inUnit({ systemd: 252 }), "note", "systemd.version"],
  ["a unit file that was changed", inUnit({ needsReload: true }), "warning", "systemd.unit"],
  ["Type=simple", inUnit({ type: "simple" }), "problem", "systemd.type"],
  ["NotifyAccess=all", inUnit({ notifyAccess: "all" }), "warning", "systemd.notify-access"],
  ["KillMode=control-group", inUnit({ killMode: "control-group" }), "problem", "systemd.kill-mode"],
  ["Restart=no", inUnit({ restart: "no" }), "warning", "systemd.restart"],
  ["no ExecStopPost=", inUnit({ hasStopPost: false }), "warning", "systemd.stop-post"],
  ["TimeoutStopSec=5s", inUnit({ stopTimeoutS: 5 }), "problem", "systemd.stop-timeout"],
  ["a small store", inUnit({ fdstoreMax: 8 }), "warning", "systemd.fdstore"],
  ["no store", inUnit({ fdstoreMax: 0 }), "note", "systemd.fdstore"],
  [
    "a directory of everybody's",
    files({ state: { path: "/s", uid: 0, mode: 0o777 } }),
    "problem",
    "access.directories",
  ],
  [
    "a directory of another's",
    files({ runtime: { path: "/r", uid: 9, mode: 0o755 } }),
    "problem",
    "access.directories",
  ],
  ["a socket for everybody", files({ socket: { path: "/x", uid: 0, mode: 0o666 } }), "note", "access.socket"],
  [
    "a configuration that others write",
    files({ config: { path: "/c", uid: 0, mode: 0o664 } }),
    "problem",
    "access.secrets",
  ],
  [
    "tokens that others read",
    files({ tokens: { path: "/t", uid: 0, mode: 0o644 } }),
    "warning",
    "access.secrets",
  ],
  [
    "a service as root",
    withConfig(({ services }) => ({ services: services.map((each) => ({ ...each, user: null })) })),
    "warning",
    "service.user",
  ],
  [
    "npm start",
    withConfig(({ services }) => ({
      services: services.map((each) => ({ ...each, command: ["npm", "start"] })),
    })),
    "problem",
    "service.command",
  ],
  ["a socket of its own", { ownSockets: [own] }, "note", "service.own-sockets"],
  [
    "the listener's port by itself",
    { ownSockets: [{ ...own, port: 8080 }] },
    "problem",
    "service.own-sockets",
  ],
];

test.each(WRONG)("%s is found, and nothing else, with what to do", (_title, change, verdict, check) => {
  const facts = { ...healthy, ...change };
  expect(verdicts(facts)).toEqual([`${verdict} ${check}`]);
  const { findings, healthy: isHealthy } = diagnose(facts, "daemon");
  expect(findings.find((finding) => finding.check === check)?.fix).toMatch(/\S/u);
  expect(isHealthy).toBe(verdict !== "problem");
});

test("every check can find something", () => {
  expect([...new Set(WRONG.map(([, , , check]) => check))].sort()).toEqual(Object.keys(CHECKS).sort());
});

test("a port that is reserved, and a store that systemd does not use, are no trouble", () => {
  const clash = { localPorts: [1024, 9000], reservedPorts: [[8000, 8090]] } as const;
  expect(verdicts({ ...healthy, ...sysctls(clash) })).toEqual([]);
  expect(verdicts({ ...healthy, ...inUnit({ systemd: 252, fdstoreMax: 8 }) })).toEqual([
    "note systemd.version",
  ]);
});

test("docs/operations.md lists every check", () => {
  const page = readFileSync(`${root}/docs/operations.md`, "utf8");
  const rows = [...page.matchAll(/^\| `([a-z]+\.[a-z-]+)` +\| (.+?) +\|$/gmu)].map(([, check, what]) => [
    check,
    what,
  ]);
  expect(rows).toEqual(Object.entries(CHECKS));
});

test("this kernel is tried for real, and a socket that a process opened by itself is seen", async () => {
  const server = createServer().listen(0, "127.0.0.1");
  onTestFinished(() => void server.close());
  await once(server, "listening");
  const { port } = server.address() as { readonly port: number };
  const subject = {
    config,
    configProblem: null,
    applications: [{ service: "app", pids: [process.pid] }],
    given: new Set<number>(),
  };
  const facts = await gather(subject);
  expect(facts.kernel).toMatchObject({ reuseportFilter: null, pidfd: null, socketDiag: null });
  expect(facts.limits.openFiles).toBeGreaterThan(0);
  expect(facts.sysctls.somaxconn).toBeGreaterThan(0);
  expect(facts.ownSockets).toContainEqual(
    expect.objectContaining({ service: "app", pid: process.pid, host: "127.0.0.1", port }),
  );
  const inode = native.diagSockets("inet", 1 << 10, port)[0]?.inode ?? 0;
  const others = await ownSocketsOf(subject.applications, new Set([inode]));
  expect(others.some((socket) => socket.port === port)).toBe(false);
});

test("without a configuration that can be used the host is looked at all the same", async () => {
  const diagnosis = await examineHost(() => {
    throw new CodedError("CONFIG_INVALID", "handoffd.yaml:3: no");
  });
  expect(diagnosis).toMatchObject({ seenBy: "host", healthy: false });
  expect(diagnosis.findings[0]).toMatchObject({ check: "config.valid", finding: "handoffd.yaml:3: no" });
  expect(diagnosis.findings.map(({ check }) => check)).toContain("kernel.reuseport-filter");
});

test("what systemctl, /proc and sysctls say is read as it is written", () => {
  const shown = [
    "Type=notify-reload",
    "NotifyAccess=main",
    "KillMode=process",
    "Restart=always",
    "TimeoutStopUSec=1min 30s",
    "FileDescriptorStoreMax=4096",
    "NeedDaemonReload=no",
    "ExecStopPost={ path=/x ; argv[]=/x %n }",
    "MainPID=41",
  ];
  const parse = (lines: readonly string[]) =>
    parseUnit("h.service", lines.join("\n"), "systemd 257 (257.9-1)\n+PAM", 41);
  expect(parse([...shown, "LoadState=loaded"])).toEqual({
    ...unit,
    name: "h.service",
    type: "notify-reload",
    stopTimeoutS: 90,
  });
  expect(parse([...shown, "LoadState=not-found"])).toBe(null);
  expect(parseRanges("8080,9148-9150")).toEqual([
    [8080, 8080],
    [9148, 9150],
  ]);
  expect(parseRanges("")).toEqual([]);
  const text =
    "Limit                     Soft Limit           Hard Limit           Units     \nMax open files            1024                 524288               files     \nMax processes             unlimited            unlimited            processes \n";
  expect([softLimit(text, "Max open files"), softLimit(text, "Max processes")]).toEqual([1024, Infinity]);
});
