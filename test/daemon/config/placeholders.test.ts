import { expect, test } from "vitest";
import { fillQuery, unknownPlaceholders } from "../../../daemon/config/placeholders.ts";

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
