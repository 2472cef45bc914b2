import { expect, test } from "vitest";

import { privateConfig } from "../../../cli/verify/private-config.ts";
import type { ConfigFile } from "../../../daemon/config/schema.ts";

const OPTIONS = {
  directory: "/tmp/verify-x",
  listen: new Map<string, string>(),
  release: null,
  output: "/tmp/verify-x/output.log",
};

function fileOf(service: NonNullable<ConfigFile["services"]>[string] = {}): ConfigFile {
  return {
    listeners: {
      web: { address: "tcp:0.0.0.0:8080", backlog: 128 },
      six: { address: "tcp:[::]:80" },
      ipc: { address: "unix:/run/app/ipc.sock", mode: "0660" },
      abs: { address: "unix:@app" },
      adm: { address: "systemd:adm" },
      other: { address: "tcp:0.0.0.0:9090" },
    },
    services: {
      api: { command: ["./api"], listeners: ["web", "six", "ipc", "abs", "adm"], user: "api", ...service },
      batch: { command: ["./batch"], listeners: ["other"] },
    },
    admin: { socket: { path: "/run/handoffd/admin.sock" }, http: { address: "127.0.0.1:9700" } },
    metrics: { address: "127.0.0.1:9701" },
    paths: { runtime: "/run/handoffd", state: "/var/lib/handoffd" },
  };
}

const made = (service = {}, options = {}) =>
  privateConfig(fileOf(service), "api", { ...OPTIONS, ...options });

test("every address is one that nobody else has", () => {
  const { value } = made();
  expect(value.listeners).toEqual({
    web: { address: "tcp:127.0.0.1:0", backlog: 128 },
    six: { address: "tcp:[::1]:0" },
    ipc: { address: "unix:/tmp/verify-x/sockets/ipc.sock", mode: "0660" },
    abs: { address: "unix:@verify-x-abs" },
    adm: { address: "tcp:127.0.0.1:0" },
  });
});

test("an address that was asked for is used, also of another kind", () => {
  const listen = new Map([["ipc", "tcp:127.0.0.1:7000"]]);
  expect(made({}, { listen }).value.listeners?.["ipc"]).toEqual({ address: "tcp:127.0.0.1:7000" });
});

test("nothing of the daemon itself is the configured one, and no other service runs", () => {
  const { value } = made({ output: "journal" });
  const { services, listeners: _listeners, ...rest } = value;
  expect(rest).toEqual({
    admin: { socket: { path: "/tmp/verify-x/admin.sock", mode: "0600" } },
    paths: { runtime: "/tmp/verify-x/r", state: "/tmp/verify-x/state" },
    marks: { base: 0x4b0000 },
    log: { level: "info" },
  });
  expect(Object.keys(services ?? {})).toEqual(["api"]);
  expect(services?.["api"]).toMatchObject({ user: "api", output: "/tmp/verify-x/output.log" });
});

test("marks are not those of a daemon that counts by them, and off stays off", () => {
  const marksOf = (marks: NonNullable<ConfigFile["marks"]>) =>
    privateConfig({ ...fileOf(), marks }, "api", OPTIONS).value.marks;
  expect(marksOf({ base: 0x100000 })).toEqual({ base: 0x110000 });
  expect(marksOf({ base: 0x7fff0000 })).toEqual({ base: 0x10000 });
  expect(marksOf("off")).toBe("off");
});

test("a deploy keeps its strategy, and leaves out what takes minutes or asks somebody else", () => {
  const deploy = {
    strategy: "canary" as const,
    bake: "1h",
    pin: ["10.0.0.0/8"],
    steps: [{ weight: "0%" }, { weight: "5%", for: "1m" }, { weight: "50%", pause: true }],
    analysis: { command: ["./judge"] },
    watch: { exits: 2 },
  };
  const { value, notes } = made({ deploy });
  expect(value.services?.["api"]?.deploy).toEqual({
    strategy: "canary",
    bake: "300ms",
    steps: [
      { weight: "5%", for: "300ms" },
      { weight: "50%", for: "300ms" },
    ],
    watch: { exits: 2 },
  });
  expect(notes.map((note) => note.split(" ")[0])).toEqual(["deploy.analysis", "deploy.pin", "each"]);
});

test("a release that was asked for is the version", () => {
  expect(made({ version: "41" }, { release: "42" }).value.services?.["api"]?.version).toBe("42");
  expect(made({ version: "41" }).value.services?.["api"]?.version).toBe("41");
});

test.each([
  ["whose instances somebody else starts", { external: { allow: { uid: 1 } } }, "external:"],
  ["without listeners", { listeners: [] }, "no listeners"],
])("a service %s is refused", (_title, service, reason) => {
  expect(() => made(service)).toThrow(
    expect.objectContaining({
      code: "VERIFY_UNUSABLE",
      message: expect.stringContaining(reason) as string,
    }) as Error,
  );
});

test("a service or a listener that is not there is refused, with those that are", () => {
  expect(() => privateConfig(fileOf(), "ap", OPTIONS)).toThrow("name one of api, batch");
  expect(() => made({}, { listen: new Map([["other", "8080"]]) })).toThrow(
    "--listen can name web, six, ipc, abs, adm",
  );
});
