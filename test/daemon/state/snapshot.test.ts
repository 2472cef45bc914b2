import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { setTimeout as delay } from "node:timers/promises";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type ServiceRecord, SnapshotStore } from "../../../daemon/state/snapshot.ts";
import type { Deployment } from "../../../deploy/deployment.ts";

let state: string;
beforeEach(() => (state = mkdtempSync(`${tmpdir()}/hd-snapshot-`)));
afterEach(() => rmSync(state, { recursive: true }));

const file = (suffix: string) => `${state}/services/api.${suffix}`;
const files = () => readdirSync(`${state}/services`).sort();

/** Of a deployment the store looks at the phase only. */
function record(phase: Deployment["phase"], more: Partial<ServiceRecord> = {}): ServiceRecord {
  const deploys = [
    { id: "api-2", phase },
    { id: "api-1", phase: "succeeded" },
  ] as unknown as Deployment[];
  const numbers = {
    lastNumber: 2,
    current: 1,
    candidate: 2,
    previous: null,
    hold: null,
    instances: null,
    waiting: {},
  };
  return { service: "api", version: "1", ...numbers, deploys, generations: [], ...more };
}

function edit(path: string, change: Readonly<Record<string, unknown>>): void {
  const content = JSON.parse(readFileSync(path, "utf8")) as object;
  writeFileSync(path, JSON.stringify({ ...content, ...change }));
}

describe("a service's snapshot", () => {
  it("is read as it was written last, by the same daemon and by the next", () => {
    const store = new SnapshotStore(state);
    for (const phase of ["starting", "verifying", "shifting", "succeeded", "draining"] as const) {
      store.write(record(phase));
      for (const reader of [store, new SnapshotStore(state)])
        expect(reader.read("api")).toMatchObject(record(phase));
    }
  });

  it("keeps nothing of deploys that are no longer remembered", async () => {
    const store = new SnapshotStore(state);
    const all: Deployment[] = [];
    const firsts: WeakRef<Deployment>[] = [];
    for (let n = 1; n <= 10; n += 1) {
      const deploy = { id: `api-${n}`, phase: "succeeded" } as unknown as Deployment;
      if (n <= 5) firsts.push(new WeakRef(deploy));
      all.unshift(deploy);
      all.length = Math.min(all.length, 3);
      store.write(record("succeeded", { deploys: [...all] }));
    }
    await delay(0); // A WeakRef keeps what it has for the turn in which it was made.
    setFlagsFromString("--expose-gc");
    (runInNewContext("gc") as () => void)();
    expect(firsts.map((first) => first.deref())).toEqual(firsts.map(() => undefined));
    expect(store.read("api")?.deploys).toEqual(all);
  });

  it("goes on counting where the daemon before has ended", () => {
    new SnapshotStore(state).write(record("starting"));
    const next = new SnapshotStore(state);
    next.read("api");
    next.write(record("verifying"));
    expect(new SnapshotStore(state).read("api")).toMatchObject(record("verifying"));
  });

  it("is in the lasting file when the version changes and when nothing is under way", () => {
    const store = new SnapshotStore(state);
    store.write(record("succeeded"));
    expect(files()).toEqual(["api.json"]);
    store.write(record("verifying"));
    expect(files()).toEqual(["api.json", "api.live"]);
    store.write(record("draining", { version: "2" }));
    expect(files()).toEqual(["api.json"]);
    store.write(record("draining", { version: "2", current: 2 }));
    expect(files()).toEqual(["api.json", "api.live"]);
    store.write(record("succeeded", { version: "2" }));
    expect(files()).toEqual(["api.json"]);
  });

  it("is found whole after a death between the unlinking and the renaming", () => {
    const store = new SnapshotStore(state);
    store.write(record("starting"));
    store.write(record("verifying"));
    const text = readFileSync(file("live"), "utf8");
    rmSync(file("live"));
    writeFileSync(file("live.new"), text);
    expect(new SnapshotStore(state).read("api")).toMatchObject(record("verifying"));
  });

  it("is not read from half a file", () => {
    const store = new SnapshotStore(state);
    store.write(record("starting"));
    store.write(record("verifying"));
    const text = readFileSync(file("live"), "utf8");
    for (const length of [0, 1, 100, text.length - 1]) {
      writeFileSync(file("live.new"), text.slice(0, length));
      expect(new SnapshotStore(state).read("api"), `${length} bytes`).toMatchObject(record("verifying"));
    }
  });

  it("is not taken from an old live file that a death left beside the lasting one", () => {
    const store = new SnapshotStore(state);
    store.write(record("starting"));
    store.write(record("verifying"));
    const old = readFileSync(file("live"), "utf8");
    store.write(record("succeeded"));
    writeFileSync(file("live"), old);
    expect(new SnapshotStore(state).read("api")).toMatchObject(record("succeeded"));
  });

  it("is after a reboot what the lasting file says, without processes", () => {
    const store = new SnapshotStore(state);
    store.write(record("starting"));
    store.write(record("shifting"));
    edit(file("json"), { boot: "another" });
    edit(file("live"), { boot: "another" });
    expect(new SnapshotStore(state).read("api")).toMatchObject({
      ...record("starting"),
      current: null,
      candidate: null,
    });
  });

  it("is not written again when it says the same", () => {
    const store = new SnapshotStore(state);
    store.write(record("succeeded"));
    const { ino } = statSync(file("json"));
    store.write(record("succeeded"));
    expect(statSync(file("json")).ino).toBe(ino);
    store.write(record("succeeded", { version: "2" }));
    expect(new SnapshotStore(state).read("api")?.version).toBe("2");
  });

  it("is refused with the file's name when the lasting file is not whole", () => {
    new SnapshotStore(state).write(record("succeeded"));
    writeFileSync(file("json"), "{");
    expect(() => new SnapshotStore(state).read("api")).toThrow(file("json"));
  });

  it("is gone once it is forgotten", () => {
    const store = new SnapshotStore(state);
    store.write(record("starting"));
    store.write(record("verifying"));
    store.remove("api");
    expect(files()).toEqual([]);
    expect(store.read("api")).toBeNull();
  });
});
