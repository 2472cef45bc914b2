/** The keeper from the daemon's side; handoff-keeper itself is spoken to in keeper-process.test.ts. */
import { mkdtempSync, openSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import fc from "fast-check";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { KeeperProcess, NO_KEEPER } from "../../handoff/keeper.ts";
import { native } from "../../handoff/native.ts";
import { alive, descriptorCount, killOne, waitForExit } from "../support/processes.ts";
import { expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();

let folder = "";
let path = "";
let nothing = -1;
const pids: number[] = [];
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/keeper-`);
  path = `${folder}/keeper.sock`;
  nothing = openSync("/dev/null", "r+");
});
afterEach(async () => {
  for (const pid of pids.splice(0)) {
    killOne(pid);
    await waitForExit(pid);
  }
  native.close(nothing);
  rmSync(folder, { recursive: true });
});

function startKeeper(): KeeperProcess {
  const keeper = KeeperProcess.start(path, [nothing, nothing, nothing]);
  pids.push(keeper.pid);
  return keeper;
}

function connect(): KeeperProcess {
  const keeper = KeeperProcess.connect(path);
  if (keeper === null) throw new Error("there is no keeper");
  return keeper;
}

/** The inodes that it holds, by name. */
async function held(keeper: KeeperProcess): Promise<Record<string, number>> {
  const list = await keeper.list();
  const inodes = Object.fromEntries([...list].map(([name, one]) => [name, one.inode()]));
  for (const one of list.values()) one.close();
  return inodes;
}

async function released(keeper: KeeperProcess): Promise<void> {
  await keeper.release();
  await waitForExit(keeper.pid);
}

describe("a keeper that is there", () => {
  it("has from another daemon what this one has put, until it is told to let go", async () => {
    using one = new Descriptor(native.memfd("one"));
    using two = new Descriptor(native.memfd("two"));
    const first = startKeeper();
    await first.put("slot/web/0", one.fd);
    await first.put("slot/web/1", one.fd);
    await first.put("slot/web/1", two.fd);
    first.close();
    const second = connect();
    expect(second.pid).toBe(first.pid);
    expect(await held(second)).toEqual({ "slot/web/0": one.inode(), "slot/web/1": two.inode() });
    await second.remove(["slot/web/0", "absent"]);
    expect(await held(second)).toEqual({ "slot/web/1": two.inode() });
    await released(second);
    expect(KeeperProcess.connect(path)).toBeNull();
  });

  it("keeps the socket that the daemon has closed: clients wait in its queue", async () => {
    const keeper = startKeeper();
    const listening = new Descriptor(native.socket("unix", "stream", false));
    native.bind(listening.fd, { family: "unix", path: `${folder}/app.sock` });
    native.listen(listening.fd, 10);
    const kept = keeper.put("slot/app/0", listening.fd);
    listening.close(); // Before the request's turn has come.
    await kept;
    using client = new Descriptor(native.socket("unix", "stream", false));
    native.connect(client.fd, { family: "unix", path: `${folder}/app.sock` });
    const back = (await keeper.list()).get("slot/app/0");
    expect(native.accept(back?.fd ?? -1)).toSatisfy((fd: number | null) => {
      if (fd !== null) native.close(fd);
      return fd !== null;
    });
    back?.close();
    await released(keeper);
  });

  it("answers many who ask at once, each with its own answer", async () => {
    const keeper = startKeeper();
    using one = new Descriptor(native.memfd("one"));
    const names = Array.from({ length: 300 }, (_, i) => `name ${i}`);
    const lists = [keeper.list()];
    const puts = names.map((name) => keeper.put(name, one.fd));
    lists.push(keeper.list());
    const removed = keeper.remove(names.slice(0, 260));
    await Promise.all([...puts, removed]);
    lists.push(keeper.list());
    const sizes = await Promise.all(
      lists.map(async (list) => {
        const found = [...(await list).values()];
        for (const each of found) each.close();
        return found.length;
      }),
    );
    expect(sizes).toEqual([0, 300, 40]);
    await released(keeper);
  });

  it("takes every name that we write, and gives the same back", async () => {
    const keeper = startKeeper();
    using one = new Descriptor(native.memfd("one"));
    const name = fc
      .string({ unit: "binary", minLength: 1, maxLength: 63 })
      .filter((text) => Buffer.byteLength(text) <= 255);
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(name, { minLength: 1, maxLength: 5 }), async (names) => {
        for (const each of names) await keeper.put(each, one.fd);
        expect(new Set(Object.keys(await held(keeper)))).toEqual(new Set(names));
        await keeper.remove(names);
      }),
      { numRuns: 100 },
    );
    expect(await held(keeper)).toEqual({});
    await released(keeper);
  });

  it("drops whoever asks for nonsense, and goes on", async () => {
    const keeper = startKeeper();
    await expect(keeper.put("x".repeat(256), nothing)).rejects.toMatchObject({ code: "HANDOFF_PEER_GONE" });
    const again = connect(); // Too long a name is nonsense: the peer was dropped, the keeper lives.
    expect(await held(again)).toEqual({});
    await released(again);
  });

  it("leaves a leftover of its path to nobody", async () => {
    const first = startKeeper();
    killOne(first.pid);
    await waitForExit(first.pid);
    first.close();
    expect(KeeperProcess.connect(path)).toBeNull(); // The path is there, and nobody listens.
    const second = startKeeper();
    expect(second.pid).not.toBe(first.pid);
    await released(second);
  });
});

describe("a keeper that ends", () => {
  it("is noticed at once, though nobody asks it for anything", async () => {
    const keeper = startKeeper();
    const gone = new Promise<void>((resolve) => keeper.watch(resolve));
    killOne(keeper.pid);
    await gone;
    await expect(keeper.put("x", nothing)).rejects.toMatchObject({ code: "HANDOFF_PEER_GONE" });
  });

  it("because it was told to is not noticed as a loss", async () => {
    const keeper = startKeeper();
    let isLost = false;
    keeper.watch(() => (isLost = true));
    await keeper.put("x", nothing);
    keeper.close();
    const again = connect();
    await released(again);
    expect([isLost, alive(keeper.pid)]).toEqual([false, false]);
  });

  it("fails those who wait, each of them", async () => {
    const keeper = startKeeper();
    process.kill(keeper.pid, "SIGSTOP");
    const asked = [keeper.put("x", nothing), keeper.list(), keeper.remove(["x"])];
    killOne(keeper.pid);
    const results = await Promise.allSettled(asked);
    expect(
      results.map((one) => (one.status === "rejected" ? (one.reason as { code: string }).code : "")),
    ).toEqual(["HANDOFF_PEER_GONE", "HANDOFF_PEER_GONE", "HANDOFF_PEER_GONE"]);
  });
});

it("there is no keeper where there is no path", () => {
  expect(KeeperProcess.connect(path)).toBeNull();
});

it("one that cannot be reached or started is told as the keeper's failure", () => {
  expect(() => KeeperProcess.start(`${folder}/absent/keeper.sock`, [0, 1, 2])).toThrow(
    "the keeper cannot be started",
  );
  expect(readdirSync(folder)).toEqual([]);
});

it("one whose queue is full is not taken for one that is there", () => {
  using full = new Descriptor(native.socket("unix", "seqpacket", true));
  native.bind(full.fd, { family: "unix", path });
  native.listen(full.fd, 0);
  const first = connect();
  expect(() => KeeperProcess.connect(path)).toThrow("cannot be reached");
  first.close();
});

it("the keeper has no descriptor of this process but its own", async () => {
  using _stray = new Descriptor(native.memfd("stray"));
  const keeper = startKeeper();
  await keeper.list();
  expect(descriptorCount(keeper.pid)).toBeLessThanOrEqual(8);
  await released(keeper);
});

it("`keeper: off` keeps nothing and never fails", async () => {
  await NO_KEEPER.put("x", nothing);
  await NO_KEEPER.remove(["x"]);
  expect(await NO_KEEPER.list()).toEqual(new Map());
  await NO_KEEPER.release();
  NO_KEEPER.close();
});
