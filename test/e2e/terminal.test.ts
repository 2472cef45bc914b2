/** What a person sees of a real daemon in a real terminal, during a real deploy. */
import { expect, test } from "vitest";

import { startDaemon } from "../support/daemon.ts";
import { oneService } from "../support/one-service.ts";
import { commandOf, root } from "../support/paths.ts";
import { eventually } from "../support/processes.ts";
import { Terminal } from "../support/terminal.ts";

interface Diagnosis {
  readonly seenBy: string;
  readonly findings: readonly {
    readonly check: string;
    readonly verdict: string;
    readonly finding: string;
  }[];
}

test("a deploy is seen with its clock and both generations, and what it did stays in the scroll-back", async () => {
  await using daemon = await startDaemon({ config: oneService({ deploy: { bake: "10m" } }) });
  await using terminal = await Terminal.open([`${root}/bin/handoffctl`, "deploy", "api", "v1"], {
    environment: { HANDOFFD_SOCKET: daemon.socket },
  });
  const seen = await terminal.until(/^ {2}baking .*\n {2}generation 1 .* 0 %.*\n {2}generation 2 .*100 %/mu);
  expect(seen).toMatch(/^ {2}baking {8}█+░+ {2}\d+ min \d+ s left$/mu);
  expect((await daemon.api("POST", "/v1/deploys/api-2/promote")).status).toBe(200);
  const after = (await terminal.until("exit 0")).split("\n");
  expect(after[0]).toMatch(/^deploy api-2 of api, blue-green, generation 1 -> 2 \(version v1\)$/u);
  const phases = after.slice(1, -1).map((line) => line.replace(/^ *[\d.]+ s {2}/u, ""));
  expect(phases.filter((line) => /^[a-z]+$/u.test(line))).toEqual([
    "starting",
    "verifying",
    "shifting",
    "baking",
    "draining",
    "succeeded",
  ]);
  expect(after.join("\n")).not.toContain("s left");
});

test("the doctor is the daemon, and knows an application that listens by itself", async () => {
  const own = { command: commandOf("binds-own-port.mjs"), ready: { by: "notify" } };
  const { services, ...rest } = oneService() as { readonly services: object };
  await using daemon = await startDaemon({ config: { ...rest, services: { ...services, own } } });
  const before = daemon.descriptors;
  const { code, stdout } = await daemon.cli("doctor", "--json");
  const { seenBy, findings } = JSON.parse(stdout) as Diagnosis;
  const found = findings.find(({ check }) => check === "service.own-sockets");
  expect([seenBy, found?.verdict, found?.finding]).toEqual([
    "daemon",
    "note",
    expect.stringMatching(/^own \(pid \d+, .+\) listens on 127\.0\.0\.1:\d+: not handed over/u),
  ]);
  expect(code).toBe(findings.some(({ verdict }) => verdict === "problem") ? 1 : 0);
  expect(findings.find(({ check }) => check === "config.valid")?.finding).toContain(daemon.configFile);
  await Promise.all([1, 2, 3].map(() => daemon.api("GET", "/v1/doctor")));
  await eventually("as many descriptors as before", () => daemon.descriptors <= before);
});
