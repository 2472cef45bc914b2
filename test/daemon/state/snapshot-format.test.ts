import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { describe, expect, it } from "vitest";
import { bootId } from "../../../daemon/proc.ts";
import { type ServiceRecord, SnapshotStore } from "../../../daemon/state/snapshot.ts";
import { type Fields, FORMAT, isReadable, migrate } from "../../../daemon/state/snapshot-format.ts";
import { golden } from "../../support/golden.ts";
import { root } from "../../support/paths.ts";

const GOLDEN_TODAY = readdirSync(`${root}/test/golden`).flatMap(
  (file) => new RegExp(`^snapshot-(v${FORMAT}-.+)\\.json$`, "u").exec(file)?.[1] ?? [],
);

function temporaryFolder(): Disposable & { readonly path: string } {
  const path = mkdtempSync(`${tmpdir()}/hd-golden-`);
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

function listOf(content: Fields, key: string): Fields[] {
  return content[key] as Fields[];
}

describe("a snapshot of the first format", () => {
  it.each(["v1-idle", "v1-baking"])("%s keeps all that it says", (name) => {
    const before = golden(name);
    const after = migrate(before);
    expect(after).toMatchObject({ ...before, format: FORMAT });
  });

  it("gets what deploys did not know of, as it was then", () => {
    const after = migrate(golden("v1-baking"));
    expect(listOf(after, "deploys")).toHaveLength(3);
    for (const deployment of listOf(after, "deploys")) {
      expect(deployment).toMatchObject({
        pinned: false,
        exposure: null,
        step: null,
        resizedAt: null,
        fallback: null,
      });
      expect(deployment["options"]).toMatchObject({
        instances: 1,
        previousInstances: deployment["from"] === null ? 0 : 1,
        watchQueueMs: 0,
        steps: [],
        floor: 1,
        hasPins: false,
        fallsBack: false,
        overlaps: false,
        analysis: null,
      });
    }
  });

  it("gets what generations and the service did not know of", () => {
    const after = migrate(golden("v1-baking"));
    expect(after).toMatchObject({ hold: null, instances: null, waiting: {} });
    expect(listOf(after, "generations")).toHaveLength(2);
    for (const generation of listOf(after, "generations"))
      expect(generation).toMatchObject({ pinned: false, ending: null, isSignalled: false, cookies: {} });
  });

  it("has told a generation to end when it says when", () => {
    const content = golden("v1-baking");
    const [first = {}, second = {}] = listOf(content, "generations");
    const generations = [{ ...first, signalledAt: 1_795_459_312_100 }, second];
    const after = migrate({ ...content, generations });
    expect(listOf(after, "generations").map(({ isSignalled }) => isSignalled)).toEqual([true, false]);
  });
});

describe("a snapshot of the second format", () => {
  it.each(["v2-canary", "v2-held"])("%s keeps all that it says", (name) => {
    const before = golden(name);
    expect(migrate(before)).toMatchObject({ ...before, format: FORMAT });
  });

  it("has programs that have said nothing", () => {
    const instances = listOf(migrate(golden("v2-canary")), "generations").flatMap((generation) =>
      listOf(generation, "instances"),
    );
    expect(instances.length).toBeGreaterThan(0);
    for (const { said } of instances) expect(said).toEqual({ kinds: [], wants: false, moved: 0, failed: 0 });
  });
});

describe("a snapshot of today's format", () => {
  it("has golden files", () => {
    expect(GOLDEN_TODAY.length).toBeGreaterThan(0);
  });

  it.each(GOLDEN_TODAY)("%s is read as it stands, and written again byte for byte", (name) => {
    using folder = temporaryFolder();
    // Of this boot: what is of another one is not gone on with.
    const content: Fields = { ...golden(name), boot: bootId() };
    mkdirSync(`${folder.path}/services`);
    writeFileSync(`${folder.path}/services/api.live`, JSON.stringify(content));
    const store = new SnapshotStore(folder.path);
    const read = store.read("api");
    expect(read).toEqual(content);
    const { format: _format, boot: _boot, sequence: _sequence, ...record } = content;
    store.write(record as unknown as ServiceRecord);
    const file = ["live", "json"].map((suffix) => `${folder.path}/services/api.${suffix}`).find(existsSync);
    const sequence = Number(content["sequence"]) + 1;
    expect(readFileSync(file ?? "", "utf8")).toBe(JSON.stringify({ ...content, sequence }));
  });
});

describe("a snapshot of any format", () => {
  it("gets the defaults of what the configuration did not have when a generation was started", () => {
    const content = golden("v1-idle");
    const generations = listOf(content, "generations").map((generation) => {
      const { drain, nice: _nice, ...config } = generation["config"] as Record<string, Fields>;
      return { ...generation, config: { ...config, drain: { signal: drain?.["signal"] } } };
    });
    const [generation] = listOf(migrate({ ...content, generations }), "generations");
    expect(generation?.["config"]).toMatchObject({
      nice: null,
      drain: { signal: "SIGTERM", settleMs: 5_000, timeoutMs: 30_000 },
    });
  });

  it("keeps a choice as it was made, without the keys of the default one", () => {
    const content = golden("v1-idle");
    const ready = listOf(content, "generations").map(({ config }) => (config as Fields)["ready"]);
    const after = listOf(migrate(content), "generations");
    expect(ready[0]).toMatchObject({ by: "listening" });
    expect(after.map(({ config }) => (config as Fields)["ready"])).toEqual(ready);
  });

  it("is not changed by being read twice", () => {
    const once = migrate(golden("v1-baking"));
    expect(migrate(once)).toEqual(once);
  });

  it("is not read when it comes from a later version", () => {
    expect([0, 1, 2, FORMAT, FORMAT + 1, "1", null].map((format) => isReadable(format))).toEqual([
      false,
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});
