import { expect, test } from "vitest";
import { survivesAll } from "./every-point.ts";

test("the daemon killed at every named point is noticed by nobody", async () => {
  expect(await survivesAll("process")).toEqual([]);
});
