/**
 * Other people's servers, as examples/servers has them (docs/applications.md): deploys under load, and not one new connection
 * lost. What a server ends on kept connections by its own doing is counted; `npm run soak -- servers` measures it.
 */
import { test } from "vitest";
import { SERVER_NAMES, serverOf } from "../support/server-table.ts";
import { ServerStage, whyNot } from "../support/servers.ts";
import { NOTHING } from "../support/stage.ts";

const DEPLOYS = 3;

test.concurrent.for(SERVER_NAMES)(
  "deploys of %s lose nothing on new connections",
  { timeout: 240_000 },
  async (name, { expect, skip }) => {
    const why = await whyNot(name);
    if (why !== null) {
      if (process.env["CI"] !== undefined) throw new Error(why);
      skip(why);
    }
    await using stage = await ServerStage.open(name);
    const { fresh, kept, answered } = await stage.deploys(DEPLOYS, 32);
    expect(fresh).toMatchObject({ ...NOTHING, badStatus: 0 });
    const byItself = serverOf(name).isPolite ? 0 : kept.onReuse;
    expect(kept).toMatchObject({ ...NOTHING, reset: byItself, badStatus: 0 });
    expect(answered).toBeGreaterThan(DEPLOYS);
  },
);
