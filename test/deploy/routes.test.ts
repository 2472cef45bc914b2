import fc from "fast-check";
import { expect, it } from "vitest";
import { MOST_ROUTES, type Party, takersOf } from "../../deploy/routes.ts";

const http = ["http/web"];

function party(generation: number, instance: number, more: Partial<Party> = {}): Party {
  return { generation, instance, isReady: true, kinds: http, ...more };
}

function placesOf(parties: readonly Party[]): string[] {
  return parties.map(({ generation, instance }) => `${generation}-${instance}`);
}

it("those of a generation that ends go to the current one", () => {
  const all = [party(1, 1, { isReady: false }), party(2, 1), party(3, 1), party(3, 2)];
  expect(placesOf(takersOf(party(1, 1), true, 3, all))).toEqual(["3-1", "3-2"]);
});

it("those of one that ends alone go to its siblings, whatever is current", () => {
  const all = [party(1, 1), party(1, 2), party(1, 3), party(2, 1)];
  expect(placesOf(takersOf(party(1, 2), false, 2, all))).toEqual(["1-1", "1-3"]);
});

it("where nobody goes on, nobody takes: a service that ends, one whose current generation ends, one that holds", () => {
  const all = [party(1, 1), party(1, 2)];
  expect(takersOf(party(1, 1), true, 1, all)).toEqual([]);
  expect(takersOf(party(1, 1), true, null, all)).toEqual([]);
});

it("one that is not ready, or has nothing in common, takes nothing", () => {
  const all = [
    party(2, 1, { isReady: false }),
    party(2, 2, { kinds: [] }),
    party(2, 3, { kinds: ["http/admin", "ws/web"] }),
    party(2, 4, { kinds: ["ws/web", "http/web"] }),
  ];
  expect(placesOf(takersOf(party(1, 1), true, 2, all))).toEqual(["2-4"]);
  expect(takersOf(party(1, 1, { kinds: [] }), true, 2, all)).toEqual([]);
});

it("of more than there are routes, each is somebody's", () => {
  const all = Array.from({ length: 40 }, (_, index) => party(2, index + 1));
  const taken = new Set(
    [1, 2, 3].flatMap((instance) => placesOf(takersOf(party(1, instance), true, 2, all))),
  );
  expect(taken.size).toBe(40);
});

it("whoever takes goes on, is no leaver, and comes once", () => {
  const kinds = fc.subarray(["http/web", "http/adm", "ws/web"]);
  const parties = fc.uniqueArray(
    fc.record({
      generation: fc.integer({ min: 1, max: 3 }),
      instance: fc.integer({ min: 1, max: 30 }),
      isReady: fc.boolean(),
      kinds,
    }),
    { selector: ({ generation, instance }) => `${generation}-${instance}`, minLength: 1 },
  );
  fc.assert(
    fc.property(
      parties,
      fc.boolean(),
      fc.option(fc.integer({ min: 1, max: 3 })),
      (all, isEnding, current) => {
        const leaver = all[0] ?? party(1, 1);
        const takers = takersOf(leaver, isEnding, current, all);
        expect(new Set(takers).size).toBe(takers.length);
        expect(takers.length).toBeLessThanOrEqual(MOST_ROUTES);
        for (const taker of takers) {
          expect(taker).not.toBe(leaver);
          expect(taker.isReady).toBe(true);
          expect(taker.generation).toBe(isEnding ? current : leaver.generation);
          expect(taker.kinds.some((kind) => leaver.kinds.includes(kind))).toBe(true);
          if (isEnding) expect(taker.generation).not.toBe(leaver.generation);
        }
      },
    ),
  );
});
