import { expect, it } from "vitest";
import { orders } from "../../../daemon/sockets/rescue.ts";

const slots = (...indices: readonly number[]) => indices.map((index) => ({ index }));
const numbers = (order: readonly { readonly index: number }[]) => order.map(({ index }) => index).join("");

it.each([
  [[0], "0"],
  [[3], "3"],
  [[0, 1], "01"],
  [[1, 2], "21"],
  [[0, 3], "03"],
  [[1, 3], "31"],
  [[1, 2, 3], "312"],
] as const)(
  "the slots %j are first looked for in the order in which the kernel closes gaps: %s",
  (left, first) => {
    const [order = []] = orders(slots(...left));
    expect(numbers(order)).toBe(first);
  },
);

it("every other order comes after it, each once", () => {
  const all = [...orders(slots(1, 2, 3))].map((order) => numbers(order));
  expect(new Set(all).size).toBe(6);
  expect(all).toHaveLength(6);
});
