/** A short form of `npm run soak -- chaos`. */
import { expect, test } from "vitest";
import { chaos } from "../support/chaos.ts";
import { NOTHING } from "../support/stage.ts";

const seed = Math.floor(Date.now() / 86_400_000);

test(
  `deploys, deaths, upgrades and full disks in any order are noticed by nobody (seed ${seed})`,
  { timeout: 300_000 },
  async () => {
    const { losses, wrong, order } = await chaos({ seconds: 10, seed });
    expect({ losses, wrong, order }).toEqual({ losses: [NOTHING, NOTHING], wrong: [], order });
  },
);
