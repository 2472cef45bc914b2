/** What the daemon does when it cannot write down what it does. Needs root, for a mount. */
import { rmSync } from "node:fs";
import { expect, test } from "vitest";
import { type Daemon, startDaemon } from "../support/daemon.ts";
import { Disk } from "../support/disk.ts";
import { lost, startLoad } from "../support/load.ts";
import { LongAnswers } from "../support/long-answers.ts";
import { oneService } from "../support/one-service.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";
import { NOTHING } from "../support/stage.ts";

async function refuses(daemon: Daemon, why: RegExp): Promise<void> {
  const { status, json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" });
  expect({ status, json }).toMatchObject({
    status: 500,
    json: { code: "STATE_NOT_WRITTEN", detail: expect.stringMatching(why) as string },
  });
  expect(await daemon.service()).toMatchObject({ state: "running", current: 1, candidate: null });
}

test.each(["full", "read-only"] as const)(
  "on a %s disk nothing is begun, a death is survived, and everything goes on when it is well again",
  { timeout: 60_000 },
  async (kind) => {
    using disk = Disk.open();
    expect(disk.canBeFilled).toBe(true);
    await using daemon = await startDaemon({ config: { ...oneService(), paths: { state: disk.path } } });
    const { target } = addressOf(await daemon.status(), "web");
    await using load = startLoad({ target, mode: "keepalive", connections: 4, rate: 100, lateMs: 20_000 });
    await load.started;
    const instances = async () => (await daemon.service()).generations.map((each) => each.instances);
    const before = await instances();
    const full = kind === "full" ? disk.fill() : null;
    if (full === null) disk.setReadOnly(true);
    await refuses(daemon, kind === "full" ? /ENOSPC/u : /EROFS/u);
    await daemon.stop("SIGKILL");
    await daemon.restart();
    expect(await instances()).toEqual(before);
    await refuses(daemon, kind === "full" ? /ENOSPC/u : /EROFS/u);

    full?.[Symbol.dispose]();
    if (full === null) disk.setReadOnly(false);
    expect(await daemon.deploy("v2")).toMatchObject({ phase: "succeeded", reason: null });
    expect(lost(await load.stop())).toEqual(NOTHING);
  },
);

test("a deploy whose end could not be written down ends a little later, and leaves no generation behind", async () => {
  using disk = Disk.open();
  expect(disk.canBeFilled).toBe(true);
  await using daemon = await startDaemon({
    config: { ...oneService({ deploy: { bake: "0ms" } }), paths: { state: disk.path } },
  });
  using answers = await LongAnswers.open(1, addressOf(await daemon.status(), "web"));
  const { json } = await daemon.api("POST", "/v1/services/api/deploys", { version: "v1" });
  const { id } = json as { readonly id: string };
  await daemon.untilDeploy(id, { until: ["draining"] });
  using full = disk.fill();
  answers.finish();
  await eventually("a record that is refused", () =>
    daemon.log().some(({ msg, deploy }) => msg === "a deploy cannot go on" && deploy === id),
  );
  full[Symbol.dispose]();
  expect(await daemon.untilDeploy(id)).toMatchObject({ phase: "succeeded" });
  expect(await daemon.service()).toMatchObject({ deploy: null, generations: [{ number: 2 }] });
});

test("a state directory that was removed is made again", async () => {
  await using daemon = await startDaemon({ config: oneService() });
  rmSync(`${daemon.folder}/state`, { recursive: true });
  expect(await daemon.deploy("v1")).toMatchObject({ phase: "succeeded", reason: null });
  await daemon.stop("SIGKILL");
  await daemon.restart();
  expect(await daemon.service()).toMatchObject({ current: 2, state: "running" });
});
