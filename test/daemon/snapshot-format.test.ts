import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { type Fields, FORMAT, isReadable, migrate } from "../../daemon/snapshot-format.ts";
import { root } from "../support/paths.ts";

/** As a daemon of that format has written it. */
function golden(name: string): Fields {
  return JSON.parse(readFileSync(`${root}/test/golden/snapshot-${name}.json`, "utf8")) as Fields;
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
    expect([0, 1, FORMAT, FORMAT + 1, "1", null].map((format) => isReadable(format))).toEqual([
      false,
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});
