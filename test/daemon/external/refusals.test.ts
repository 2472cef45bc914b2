/** What is said of strangers at the door. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Refusals } from "../../../daemon/external/refusals.ts";

beforeEach(() => void vi.useFakeTimers());
afterEach(() => void vi.useRealTimers());

it("the first is said at once, a thousand more in one line, and the next one after a quiet time at once again", () => {
  const said: string[] = [];
  const refusals = new Refusals((message) => said.push(message));
  refusals.add("one");
  for (let count = 0; count < 1000; count++) refusals.add("two");
  expect(said).toEqual(["one"]);
  vi.advanceTimersByTime(10_000);
  expect(said).toEqual(["one", "two; so did 999 others within 10 s"]);
  vi.advanceTimersByTime(20_000);
  refusals.add("three");
  expect(said).toHaveLength(3);
  refusals.close();
});
