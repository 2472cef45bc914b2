import { expect, test } from "vitest";
import {
  fillCommand,
  fillQuery,
  unknownInCommand,
  unknownPlaceholders,
} from "../../../daemon/config/placeholders.ts";

const subject = { service: "api", version: "1.10", generation: 7 };

test("a query is about one candidate, and PromQL's own braces stay", () => {
  const query =
    'rate(errors{service="{service}", v=~"{version}|x", g="{generation}", job="a"}[1m]) > {generation}';
  expect(unknownPlaceholders(query)).toEqual([]);
  expect(fillQuery(query, subject)).toBe('rate(errors{service="api", v=~"1.10|x", g="7", job="a"}[1m]) > 7');
});

test("what nothing fills in is found, and stays as it is", () => {
  const query = 'up{a="{instance}", b="{constructor}"}';
  expect(unknownPlaceholders(query)).toEqual(["{instance}", "{constructor}"]);
  expect(fillQuery(query, subject)).toBe(query);
});

test("a command is about one instance; each argument stays one, and a shell's own braces stay", () => {
  const command = [
    "start",
    "{service}@{generation}-{instance}",
    "{version} {version}",
    "${generation}{name}",
  ];
  expect(unknownInCommand(command)).toEqual(["{name}"]);
  expect(fillCommand(command, { ...subject, version: "a b", instance: 2 })).toEqual([
    "start",
    "api@7-2",
    "a b a b",
    "${generation}{name}",
  ]);
});
