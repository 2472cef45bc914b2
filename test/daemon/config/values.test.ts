import fc from "fast-check";
import { expect, test } from "vitest";
import {
  formatDuration,
  parseBackoff,
  parseDuration,
  parseMode,
  parsePrometheusUrl,
  parseSignal,
  parseWeight,
} from "../../../daemon/config/values.ts";

test.each([
  ["0s", 0],
  ["500ms", 500],
  ["30s", 30_000],
  ["1m", 60_000],
  ["1h30m", 5_400_000],
  ["1d2h3m4s5ms", 93_784_005],
  ["5m5ms", 300_005],
])("%s is %i milliseconds", (text, ms) => expect(parseDuration(text)).toBe(ms));

test.each(["", "30", "1.5s", "s", "1s1m", "1s 1ms", "1S", "-1s", "25d", "1m1m", "٣s"])(
  "%j is not a duration",
  (text) => expect(() => parseDuration(text)).toThrow(/write/u),
);

test("a duration that is written is read as the same number of milliseconds", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 24 * 86_400_000 }), (ms) => {
      expect(parseDuration(formatDuration(ms))).toBe(ms);
    }),
  );
});

test("the small languages mean what they say", () => {
  expect(parseWeight("5%")).toBe(0.05);
  expect(parseWeight("0.5%")).toBe(0.005);
  expect(parseWeight("0.05")).toBe(0.05);
  expect(parseWeight(String(1e-7))).toBe(1e-7);
  expect(parseWeight("0%")).toBe(0);
  expect(parseWeight("0")).toBe(0);
  expect(parsePrometheusUrl("http://127.0.0.1:9090/")).toBe("http://127.0.0.1:9090");
  expect(parsePrometheusUrl("https://host/prefix")).toBe("https://host/prefix");
  expect(parseMode("0660")).toBe(0o660);
  expect(parseMode("660")).toBe(0o660);
  expect(parseSignal("TERM")).toBe("SIGTERM");
  expect(parseSignal("SIGQUIT")).toBe("SIGQUIT");
  expect(parseBackoff("1s..30s")).toEqual({ minMs: 1000, maxMs: 30_000 });
});

test.each(["100%", "5", "-5%", "%", "-0.1", "1e3", ""])("%j is not a step's weight", (text) => {
  expect(() => parseWeight(text)).toThrow(/write "5%"/u);
});

test.each([
  ["http://user:hunter2@127.0.0.1:9090", "password"],
  ["http://127.0.0.1:9090/?token=hunter2", '"?"'],
  ["hunter2", "not a URL"],
])("what is refused of %j is not repeated", (text, why) => {
  expect(() => parsePrometheusUrl(text)).toThrow(why);
  expect(() => parsePrometheusUrl(text)).not.toThrow("hunter2");
});
