import { test } from "vitest";
import { SERVER_NAMES, serverOf } from "../support/server-table.ts";
import { type Outcome, ServerStage, versionOf, whyNot } from "../support/servers.ts";
import { NOTHING } from "../support/stage.ts";
import { report, soakOptions } from "./report.ts";

/** `plain`: how often each is deployed that ends as it does by itself, in place of as its example says. */
const { deploys, plain, clients } = soakOptions({ deploys: 20, plain: 10, clients: 64 });

const servers: Record<string, { version: string; example: Outcome; plain: Outcome | null }> = {};

// Several at a time: what is counted does not depend on it, and each waits most of the time.
test.concurrent.for(SERVER_NAMES)(
  "deploys of %s lose nothing on new connections",
  async (name, { expect }) => {
    expect(await whyNot(name)).toBeNull();
    const measure = async (count: number, isPlain: boolean): Promise<Outcome> => {
      await using stage = await ServerStage.open(name, isPlain);
      return await stage.deploys(count, clients);
    };
    const version = await versionOf(name);
    const example = await measure(deploys, false);
    servers[name] = { version, example, plain: null };
    if (serverOf(name).plain !== null) servers[name].plain = await measure(plain, true);
    process.stdout.write(`${name} ${JSON.stringify(servers[name])}\n`);
    report({ clients, servers });
    expect(example.fresh).toMatchObject({ ...NOTHING, badStatus: 0 });
    expect(example.answered).toBeGreaterThan(deploys);
    if (serverOf(name).isPolite) expect(example.kept).toMatchObject({ ...NOTHING, badStatus: 0 });
  },
);
