import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { loadConfig } from "../../../daemon/config/load.ts";
import { parse } from "yaml";
import { normalise } from "../../../daemon/config/normalise.ts";
import type { ConfigFile } from "../../../daemon/config/schema.ts";
import { DESIGN, FULL } from "./good.ts";
import { HOST, loadText, refusalOf, repositoryFile, withFile } from "./support.ts";

const MINIMAL = `
listeners:
  web: { address: "8080" }
services:
  api: { command: [node, server.js], listeners: [web] }
`;

describe("a good file", () => {
  test("with the least that is needed has all the defaults", () => {
    const config = loadText(MINIMAL);
    expect(config.listeners).toEqual([
      {
        name: "web",
        address: { kind: "tcp", family: "inet", host: "0.0.0.0", port: 8080 },
        backlog: 4096,
        mode: null,
        group: null,
      },
    ]);
    expect(config.services[0]).toMatchObject({
      name: "api",
      instances: 1,
      ready: { by: "listening", listener: "web", timeoutMs: 30_000 },
      verify: [],
      deploy: {
        strategy: "blue-green",
        steps: [
          { weight: 0.05, forMs: 60_000, pause: false },
          { weight: 0.5, forMs: 300_000, pause: false },
        ],
        share: "random",
        pin: [],
        bakeMs: 60_000,
        floor: 1,
        watch: { exits: 1, queueMs: 30_000 },
        analysis: null,
      },
      drain: { signal: "SIGTERM", settleMs: 5000, timeoutMs: 30_000 },
      restart: { backoffMinMs: 1000, backoffMaxMs: 30_000 },
      output: { kind: "inherit" },
    });
    expect(config).toMatchObject({
      admin: {
        socket: { path: "/run/handoffd/admin.sock", mode: 0o600, group: null, roles: [] },
        http: null,
      },
      metrics: null,
      paths: { runtime: "/run/handoffd", state: "/var/lib/handoffd" },
      marks: { base: 0x4a0000 },
      keeper: "auto",
      log: { level: "info" },
      warnings: [],
    });
  });

  test("with everything has everything", () => {
    const config = loadText(FULL);
    expect(config.services[0]).toMatchObject({
      directory: "/srv/api/releases/{version}",
      version: "1.10",
      user: "api",
      umask: 0o027,
      limits: { nofile: { soft: 65536, hard: 65536 }, core: { soft: 0, hard: "infinity" } },
      listeners: ["web", "ipc"],
      ready: { by: "http", listener: "ipc", path: "/ready", expect: 204, timeoutMs: 10_000 },
      verify: [
        { kind: "http", listener: "web", path: "/healthz", expect: 200, count: 3, timeoutMs: 20_000 },
        { kind: "command", command: ["./smoke.sh"], timeoutMs: 5000 },
      ],
      deploy: { bakeMs: 0, watch: { exits: 2, queueMs: 30_000 } },
      drain: { signal: "SIGQUIT" },
      output: { kind: "file", path: "/var/log/api.log" },
    });
    expect(config.services[1]).toMatchObject({
      ready: { by: "delay", afterMs: 1000, timeoutMs: 31_000 },
      listeners: [],
      deploy: { strategy: "rolling", floor: 3 },
    });
    expect(config.services[2]?.deploy).toEqual({
      strategy: "canary",
      steps: [
        { weight: 0, forMs: 0, pause: true },
        { weight: 0.05, forMs: 60_000, pause: false },
        { weight: 0.505, forMs: 600_000, pause: false },
        { weight: 0.75, forMs: 0, pause: true },
      ],
      share: "sticky",
      pin: ["10.1.0.0/16", "2001:db8::/32"],
      bakeMs: 60_000,
      floor: 1,
      watch: { exits: 0, queueMs: 0 },
      analysis: {
        source: {
          kind: "prometheus",
          url: "https://prometheus.example/p",
          query: 'errors{service="{service}",g="{generation}"}',
        },
        max: 0.5,
        min: -1,
        everyMs: 15_000,
        samples: 3,
        noData: "wait",
        deadlineMs: 300_000,
        timeoutMs: 2000,
      },
    });
    expect(config.listeners[1]).toMatchObject({ address: { kind: "unix" }, mode: 0o660, group: "app" });
    expect(config.admin.socket).toMatchObject({ mode: 0o660, group: "deploy" });
    expect(config.marks).toBeNull();
  });

  test("is the one that is shipped", () => {
    const file = repositoryFile("packaging/handoffd.example.yaml");
    expect(loadConfig(file, HOST)).toMatchObject({ file, warnings: [] });
  });

  test("is the design's example", () => {
    expect(loadText(DESIGN)).toMatchObject({ services: [{ name: "api", fdstore: { max: 64 } }] });
  });

  test("is read to its end", () => {
    const origin = { ...HOST, file: null, warnings: [] };
    const { services, admin, metrics } = normalise(parse(DESIGN) as ConfigFile, origin);
    expect(services[0]?.deploy).toMatchObject({
      steps: [
        { weight: 0.05, forMs: 60_000, pause: false },
        { weight: 0.5, forMs: 300_000, pause: false },
      ],
      share: "sticky",
      pin: ["10.1.0.0/16"],
    });
    expect(admin.socket.roles).toEqual([
      { role: "read", to: "user", id: 998 },
      { role: "deploy", to: "group", id: 600 },
    ]);
    expect(admin.http?.address).toMatchObject({ host: "127.0.0.1", port: 9700 });
    expect(metrics?.address).toMatchObject({ host: "127.0.0.1", port: 9701 });
  });

  test("may have an analysis by a command", () => {
    const deploy = "deploy: { analysis: { command: [./judge, -q], no_data: fail, deadline: 31s } }";
    const config = loadText(MINIMAL.replace("[web] }", `[web], ${deploy} }`));
    expect(config.services[0]?.deploy.analysis).toMatchObject({
      source: { kind: "command", command: ["./judge", "-q"] },
      max: null,
      min: null,
      noData: "fail",
    });
  });

  test("may use anchors and aliases", () => {
    const config = loadText(`${MINIMAL}  two: { command: &c [node, other.js], verify: [{ command: *c }] }\n`);
    expect(config.services[1]?.verify).toMatchObject([{ command: ["node", "other.js"] }]);
  });

  test("may have a listener that nobody uses, with a warning", () => {
    const { warnings } = loadText(MINIMAL.replace(", listeners: [web]", ""));
    expect(warnings).toEqual([
      expect.stringMatching(/handoffd\.yaml:3:3: listeners\.web: no service uses this listener/u),
    ]);
  });
});

test("all the problems of a file are said at once, in the order of the lines", () => {
  const { message, problems } = refusalOf(() =>
    loadText(`
log: { level: loud }
listeners:
  web: { address: "localhost:80" }
  two: { address: "8080", backlog: 0 }
services:
  api:
    command: node
    listeners: [web, tow]
    instances: 2
    ready: { by: http, listener: nope, path: / }
    deploy: { floor: 5, bake: 10, strategy: rolling }
    user: ghost
`),
  );
  expect(problems.map(({ line, path }) => [line, path])).toEqual([
    [2, "log.level"],
    [4, "listeners.web.address"],
    [5, "listeners.two.backlog"],
    [8, "services.api.command"],
    [9, "services.api.listeners[1]"],
    [11, "services.api.ready.listener"],
    [12, "services.api.deploy.floor"],
    [12, "services.api.deploy.bake"],
    [13, "services.api.user"],
  ]);
  expect(message.split("\n")).toHaveLength(1 + problems.length);
  expect(message).toContain(`has ${problems.length} problems, and nothing of it was applied`);
});

describe("the daemon's surroundings", () => {
  test("win over the file's paths", () => {
    const environment = { RUNTIME_DIRECTORY: "/run/one:/run/two", STATE_DIRECTORY: "/var/lib/one" };
    const { paths, admin } = loadText(`${MINIMAL}paths: { runtime: /x, state: /y }`, { environment });
    expect(paths).toEqual({ runtime: "/run/one", state: "/var/lib/one" });
    expect(admin.socket.path).toBe("/run/one/admin.sock");
  });

  test("are refused by the variable's name", () => {
    const environment = { RUNTIME_DIRECTORY: `/run/${"x".repeat(100)}`, STATE_DIRECTORY: "state" };
    const { problems } = refusalOf(() => loadText(MINIMAL, { environment }));
    expect(problems.map(({ text }) => text)).toEqual([
      expect.stringMatching(/^STATE_DIRECTORY: "state" is not absolute/u),
      expect.stringMatching(/^RUNTIME_DIRECTORY: the path has 105 bytes/u),
    ]);
  });

  test("let only root run a service as someone else", () => {
    const text = MINIMAL.replace("[web] }", "[web], user: root, group: deploy, nice: -5 }");
    expect(loadText(text).services[0]?.user).toBe("root");
    const { problems } = refusalOf(() => loadText(text, { self: { uid: 1000, gid: 1000 } }));
    expect(problems.map(({ path }) => path)).toEqual([
      "services.api.user",
      "services.api.group",
      "services.api.nice",
    ]);
    for (const { message } of problems) expect(message).toContain("only root can");
    const own = text.replace("root", "api").replace("deploy", "api").replace("-5", "5");
    expect(loadText(own, { self: { uid: 1000, gid: 1000 } }).services[0]?.user).toBe("api");
  });
});

describe("a file is refused", () => {
  test("when it is not there", () => {
    expect(refusalOf(() => loadConfig("/nonexistent/handoffd.yaml", HOST))).toMatchObject({
      code: "CONFIG_UNREADABLE",
      message: expect.stringMatching(/ENOENT.*-c FILE/u) as string,
    });
  });

  test("when it is a directory", () => {
    const directory = mkdtempSync(join(tmpdir(), "handoffd-config-"));
    const { code, message } = refusalOf(() => loadConfig(directory, HOST));
    rmSync(directory, { recursive: true });
    expect([code, message]).toEqual(["CONFIG_UNREADABLE", expect.stringContaining("it is a directory")]);
  });

  test("when it is larger than 1 MiB", () => {
    expect(refusalOf(() => loadText("#".repeat(1024 * 1024 + 1))).message).toContain("larger than 1 MiB");
  });

  test("when it is not UTF-8", () => {
    expect(refusalOf(() => loadText(new Uint8Array([0xff, 0xfe, 0x00]))).message).toContain("not UTF-8");
  });

  test("when its aliases multiply", () => {
    const levels = Array.from(
      { length: 9 },
      (_, n) => `l${n + 1}: &l${n + 1} [${`*l${n}, `.repeat(9)}*l${n}]`,
    );
    const { message } = refusalOf(() => loadText(`l0: &l0 [x]\n${levels.join("\n")}`));
    expect(message).toContain("could fill the memory");
  });

  test("when its environment file has a line that is none, without showing it", () => {
    withFile("A=1\nsecret\n", (file) => {
      const text = MINIMAL.replace("[web] }", `[web], environment_file: ${file} }`);
      const { message } = refusalOf(() => loadText(text));
      expect(message).toContain("line 2 of");
      expect(message).not.toContain("secret");
    });
  });
});
