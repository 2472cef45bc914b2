/** Pages of deploys, of what is remembered and of what is only in the history. */
import fc from "fast-check";
import { expect, it } from "vitest";
import type { Deploy } from "../../../admin-api/schemas.ts";
import { findDeploy, pageOfDeploys } from "../../../daemon/state/deploy-pages.ts";
import type { HistoryEntry } from "../../../daemon/state/history-file.ts";

const START = Date.parse("2026-01-02T03:04:05.000Z");
const time = (minutes: number): string => new Date(START + minutes * 60_000).toISOString();

function deploy(service: string, to: number, startedAt: number, finishedAt: number): Deploy {
  return {
    id: `${service}-${to}`,
    service,
    strategy: "blue-green",
    from: null,
    to,
    version: null,
    phase: "succeeded",
    weight: 1,
    step: null,
    touched: null,
    pinned: false,
    paused: false,
    requestedBy: "root",
    startedAt: time(startedAt),
    finishedAt: time(finishedAt),
    reason: null,
    phases: [],
  };
}

/** As it stands in the file, the newest first. */
function historyOf(deploys: readonly Deploy[]) {
  const entries = deploys.map((each): HistoryEntry => ({
    v: 1,
    type: "deploy",
    at: each.finishedAt ?? "",
    id: each.id,
    deploy: each,
  }));
  entries.sort((a, b) => (a.at < b.at ? 1 : -1));
  const reads = { entries: 0 };
  async function* history(): AsyncGenerator<HistoryEntry> {
    for (const each of entries) {
      await Promise.resolve();
      reads.entries++;
      yield each;
    }
  }
  return { history, reads };
}

const all = { service: null, limit: 5, before: null };
const ids = (deploys: readonly Deploy[]) => deploys.map(({ id }) => id);

it("the pages together are every deploy once, the newest first, wherever each is known from", async () => {
  const durations = fc.array(fc.tuple(fc.nat(5), fc.nat(40), fc.nat(3), fc.boolean()), { maxLength: 40 });
  await fc.assert(
    fc.asyncProperty(durations, fc.integer({ min: 1, max: 7 }), async (specs, limit) => {
      let at = 0;
      const deploys = specs.map(([gap, lasts], index) => {
        at += gap;
        return deploy(["api", "web"][index % 2] ?? "", index, at, at + lasts);
      });
      // 0: remembered only, 1: in both, 2: in the history only, 3: there twice.
      const remembered = deploys.filter((_, index) => (specs[index]?.[2] ?? 0) < 2);
      const inFile = deploys.flatMap((each, index) => {
        const where = specs[index]?.[2];
        return where === 0 ? [] : where === 3 ? [each, each] : [each];
      });
      const sources = { remembered, history: historyOf(inFile).history };
      const found: Deploy[] = [];
      for (let before: string | null = null; ;) {
        const page = await pageOfDeploys(sources, { service: null, limit, before });
        expect(page.deploys.length).toBeLessThanOrEqual(limit);
        found.push(...page.deploys);
        if (page.next === null) break;
        before = page.next;
      }
      const key = ({ startedAt, id }: Deploy): string => `${startedAt} ${id}`;
      expect(found.map(key)).toEqual(deploys.map(key).sort().reverse());
    }),
    { numRuns: 300 },
  );
});

it("a page reads no more of the history than it needs", async () => {
  const deploys = Array.from({ length: 1000 }, (_, n) => deploy("api", n, n, n + 1));
  const { history, reads } = historyOf(deploys);
  const page = await pageOfDeploys({ remembered: [], history }, all);
  expect(ids(page.deploys)).toEqual(["api-999", "api-998", "api-997", "api-996", "api-995"]);
  expect(reads.entries).toBeLessThan(12);
});

it("one service's deploys are asked for alone, and a deploy's id is a cursor as well", async () => {
  const deploys = [1, 2, 3, 4].flatMap((n) => [deploy("api", n, n, n), deploy("web", n, n, n)]);
  const sources = { remembered: deploys.slice(4), history: historyOf(deploys).history };
  const page = await pageOfDeploys(sources, { ...all, service: "web", before: "web-3" });
  expect([ids(page.deploys), page.next]).toEqual([["web-2", "web-1"], null]);
  await expect(pageOfDeploys(sources, { ...all, before: "web-9" })).rejects.toMatchObject({
    code: "DEPLOY_UNKNOWN",
  });
});

it("a deploy is found by its id beyond those that are remembered: the newest, where numbers began again", async () => {
  const deploys = [
    deploy("api", 1, 1, 1),
    deploy("api", 2, 2, 2),
    { ...deploy("api", 1, 9, 9), version: "new" },
  ];
  const { history } = historyOf(deploys);
  expect(await findDeploy({ remembered: [], history }, "api-2")).toEqual(deploys[1]);
  expect(await findDeploy({ remembered: [], history }, "api-1")).toEqual(deploys[2]);
  const pages = await pageOfDeploys({ remembered: [], history }, all);
  expect(ids(pages.deploys)).toEqual(["api-1", "api-2", "api-1"]);
  await expect(findDeploy({ remembered: [], history }, "api-3")).rejects.toMatchObject({
    code: "DEPLOY_UNKNOWN",
  });
});
