/** What a new configuration changes, decided without a daemon. */
import { describe, expect, test } from "vitest";
import { pendingKeys, planReload, type Running } from "../../../daemon/reload/reload-plan.ts";
import { loadText } from "../config/support.ts";

const FILE = `
listeners:
  web: { address: "127.0.0.1:8080" }
  ipc: { address: "unix:/run/app.sock" }
services:
  api: { command: [node, server.js], version: "1", listeners: [web, ipc] }
`;

const NOTHING = { added: [], removed: [], changed: [] };

const running = (more: Partial<Running> = {}, file = FILE): Running => ({
  config: loadText(file),
  users: new Map([
    ["web", ["api"]],
    ["ipc", ["api"]],
  ]),
  leaving: { services: [], listeners: [] },
  ...more,
});

const plan = (file: string, more: Partial<Running> = {}) => planReload(running(more), loadText(file));

const leaving = (name: string, isShut: boolean, file = FILE): Partial<Running> => {
  const config = loadText(file).listeners.find((each) => each.name === name);
  if (config === undefined) throw new Error(`no listener ${name}`);
  return {
    config: { ...loadText(file), listeners: loadText(file).listeners.filter((each) => each.name !== name) },
    leaving: { services: [], listeners: [{ config, isShut }] },
  };
};

test("the same file changes nothing, whatever it is called and warns of", () => {
  expect(plan(FILE)).toEqual({
    listeners: { ...NOTHING, kept: [] },
    services: NOTHING,
    logLevel: null,
    needsRestart: [],
    problems: [],
  });
});

test("what is added, removed and changed is told apart by name, with the keys of the file", () => {
  const { listeners, services, logLevel, needsRestart, problems } = plan(`
listeners:
  web: { address: "127.0.0.1:8080", backlog: 10 }
  new: { address: "127.0.0.1:8081" }
services:
  api: { command: [node, server.js], version: "1", listeners: [web], no_new_privileges: true }
  more: { command: [node, more.js], listeners: [new] }
log: { level: debug }
marks: off
keeper: off
admin: { socket: { mode: "0660" } }
`);
  expect(listeners.added.map(({ name }) => name)).toEqual(["new"]);
  expect(listeners.removed.map(({ name }) => name)).toEqual(["ipc"]);
  expect(listeners.changed.map(({ config, keys }) => [config.name, keys])).toEqual([["web", ["backlog"]]]);
  expect(services.added.map(({ name }) => name)).toEqual(["more"]);
  expect(services.changed.map(({ config, keys }) => [config.name, keys])).toEqual([
    ["api", ["no_new_privileges", "listeners"]],
  ]);
  expect({ logLevel, needsRestart, problems }).toEqual({
    logLevel: "debug",
    needsRestart: ["admin.socket", "marks", "keeper"],
    problems: [],
  });
});

describe("a plan is refused", () => {
  const refused = (file: string, more: Partial<Running> = {}): string => {
    const { problems } = plan(file, more);
    expect(problems).toHaveLength(1);
    // The place; what is wrong, why, and the way out.
    expect(problems[0]).toMatch(/^(listeners|services)\.\w+.*: .*[;,] /u);
    return problems[0] ?? "";
  };

  test("when a listener's address is another one", () => {
    const moved = refused(FILE.replace(":8080", ":8090"));
    expect(moved).toContain("it listens on tcp:127.0.0.1:8080");
    expect(moved).toContain("add a listener of another name for tcp:127.0.0.1:8090");
  });

  test("when a new listener has the address of another, which may be leaving", () => {
    const renamed = FILE.replace("web: {", "www: {").replace("[web", "[www");
    expect(refused(renamed)).toContain('belongs to the listener "web" until that is gone');
    expect(refused(renamed, leaving("web", false))).toContain(
      'belongs to the listener "web" until that is gone',
    );
  });

  test("when a listener is to come back that refuses already", () => {
    expect(refused(FILE, leaving("web", true))).toContain(
      "it is being removed and refuses connections already",
    );
  });

  test("when a service is to come back whose processes are ending", () => {
    const config = { ...loadText(FILE), services: [] };
    const more = { config, users: new Map(), leaving: { services: ["api"], listeners: [] } };
    expect(refused(FILE, more)).toContain("its processes are ending; reload again");
  });

  test("when a listener goes to another service while generations of the first one serve it", () => {
    const given = FILE.replace(
      "[web, ipc] }",
      "[web] }\n  two: { command: [node, two.js], listeners: [ipc] }",
    );
    expect(refused(given)).toContain('generations of the service "api" serve "ipc"');
    expect(plan(given, { users: new Map([["web", ["api"]]]) }).problems).toEqual([]);
  });
});

test("a listener that leaves and is not shut yet stays when the file has it again", () => {
  const { listeners, problems } = plan(FILE.replace(':8080"', ':8080", backlog: 7'), leaving("web", false));
  expect(problems).toEqual([]);
  expect(listeners.kept.map(({ name }) => name)).toEqual(["web"]);
  expect(listeners.added).toEqual([]);
  expect(listeners.changed.map(({ config, keys }) => [config.name, keys])).toEqual([["web", ["backlog"]]]);
});

test("a listener whose port the kernel chose is the same while the file leaves that to it", () => {
  const any = FILE.replace(":8080", ":0");
  expect(planReload(running({}, any), loadText(any)).problems).toEqual([]);
  // Two of them are two.
  const two = any.replace("  ipc:", '  two: { address: "127.0.0.1:0" }\n  ipc:');
  expect(planReload(running({}, any), loadText(two)).problems).toEqual([]);
});

test("pending is what a process was started with, and neither its version nor how deploys go", () => {
  const [before] = loadText(FILE).services;
  const [after] = loadText(
    FILE.replace('version: "1"', 'version: "2", environment: { A: "1" }, deploy: { bake: 1s }'),
  ).services;
  if (before === undefined || after === undefined) throw new Error("no service");
  expect(pendingKeys(before, after)).toEqual(["environment"]);
  expect(pendingKeys(after, after)).toEqual([]);
});
