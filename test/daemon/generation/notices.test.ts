import { expect, test } from "vitest";
import { Notices } from "../../../daemon/generation/notices.ts";

const words = (text: string) => new Map(text.split("\n").map((line) => line.split("=") as [string, string]));

test("the later of two extensions holds, and is told once", () => {
  const notices = new Notices();
  expect(notices.hear(words("EXTEND_TIMEOUT_USEC=2000000"), 1000)).toBe(true);
  expect(notices.extendedTo).toBe(3000);
  expect(notices.hear(words("EXTEND_TIMEOUT_USEC=1000000"), 1500)).toBe(false);
  expect(notices.extendedTo).toBe(3000);
  notices.forgetExtension();
  expect(notices.extendedTo).toBe(0);
});

test("an extension that grows by less than a second is given, and not told again", () => {
  const notices = new Notices();
  const second = words("EXTEND_TIMEOUT_USEC=1000000");
  const told = Array.from({ length: 3000 }, (_, now) => now).filter((now) => notices.hear(second, now));
  expect(told).toEqual([0, 1000, 2000]);
  expect(notices.extendedTo).toBe(3999);
});

test.each(["", "-1", "1.5", "1s", "99999999999999999999", " 1"])("%j extends nothing", (microseconds) => {
  const notices = new Notices();
  expect(notices.hear(words(`EXTEND_TIMEOUT_USEC=${microseconds}`), 1000)).toBe(false);
  expect(notices.extendedTo).toBe(0);
});

test("the status is the last one, and not longer than a line", () => {
  const notices = new Notices();
  notices.hear(words("STATUS=one"), 0);
  expect(notices.status).toBe("one");
  notices.hear(words(`STATUS=${"x".repeat(5000)}`), 0);
  expect(notices.status).toHaveLength(256);
  notices.hear(words("STATUS="), 0);
  expect(notices.status).toBeNull();
});
