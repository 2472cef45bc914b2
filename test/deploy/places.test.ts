/** Which place a process gets that someone else has started. */
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { choosePlace, formatPlace, type Place } from "../../deploy/places.ts";

const anywhere = { generation: null, instance: null };
const place: fc.Arbitrary<Place> = fc.record({
  generation: fc.integer({ min: 1, max: 5 }),
  instance: fc.integer({ min: 1, max: 4 }),
});
const wish = fc.record({
  generation: fc.option(fc.integer({ min: 1, max: 5 })),
  instance: fc.option(fc.integer({ min: 1, max: 4 })),
});

it("a process that names its place gets that one or none, never another generation's", () => {
  fc.assert(
    fc.property(fc.array(place), wish, (awaited, asked) => {
      const found = choosePlace(awaited, asked);
      const fits = awaited.filter(
        ({ generation, instance }) =>
          (asked.generation ?? generation) === generation && (asked.instance ?? instance) === instance,
      );
      expect(found === null).toBe(fits.length === 0);
      if (found !== null) expect(fits).toContain(found);
    }),
  );
});

describe("a process that names nothing", () => {
  it("gets nothing where nothing is awaited", () => {
    expect(choosePlace([], anywhere)).toBeNull();
  });

  it("gets the newest generation's lowest instance", () => {
    fc.assert(
      fc.property(fc.array(place, { minLength: 1 }), (awaited) => {
        const found = choosePlace(awaited, anywhere) as Place;
        const newest = Math.max(...awaited.map(({ generation }) => generation));
        const lowest = awaited.filter(({ generation }) => generation === newest).map((each) => each.instance);
        expect(found).toEqual({ generation: newest, instance: Math.min(...lowest) });
      }),
    );
  });
});

it("a place is said as handoff-exec takes it", () => {
  expect(formatPlace({ generation: 5, instance: 1 })).toBe("5-1");
});
