/** What a program is given, against the table of docs/configuration.md. */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { startDaemon } from "../support/daemon.ts";
import { ask } from "../support/net.ts";
import { oneService } from "../support/one-service.ts";
import { root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";

test("the variables that docs/configuration.md has are those that an instance finds", async () => {
  const page = readFileSync(`${root}/docs/configuration.md`, "utf8");
  const documented = [...page.matchAll(/^\| `([A-Z_]+)` +\|/gmu)].map(([, name = ""]) => name);
  const drain = { signal: "SIGUSR2", timeout: "7s" };
  await using daemon = await startDaemon({ config: oneService({ drain, fdstore: { max: 2 } }) });
  const { where } = addressOf(await daemon.status(), "web");
  const given = JSON.parse((await ask(where, { path: "/environment" })).body) as Record<string, unknown>;
  const ours = /^(?:LISTEN|NOTIFY|HANDOFF|FDSTORE)(?!D_TEST)/u;
  expect(
    Object.keys(given)
      .filter((name) => ours.test(name))
      .sort(),
  ).toEqual([...documented].sort());
  expect(given).toMatchObject({
    LISTEN_FDS: "1",
    LISTEN_FDNAMES: "web",
    HANDOFF_SERVICE: "api",
    HANDOFF_VERSION: "v0",
    HANDOFF_GENERATION: "1",
    HANDOFF_INSTANCE: "1",
    HANDOFF_DRAIN_SIGNAL: "SIGUSR2",
    HANDOFF_DRAIN_TIMEOUT_MS: "7000",
    FDSTORE: "2",
  });
});
