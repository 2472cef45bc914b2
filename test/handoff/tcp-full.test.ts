/** The one thing that generations which drain share: the slots of a listener, of which the kernel's program can name 256. */
import { expect, it } from "vitest";
import { MAX_SLOTS } from "../../handoff/steering.ts";
import { closeListeners, openTcp, spreadOver, theKeeper } from "./listener-support.ts";
import { expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();
closeListeners();

it("a listener whose slots are all taken refuses the next generation, changes nothing, and takes it once one is free", async () => {
  const listener = await openTcp("tcp:127.0.0.1:0", MAX_SLOTS);
  const before = {
    owners: listener.slots.map(({ owner }) => owner),
    shares: listener.shares,
    kept: [...theKeeper().held.keys()],
  };
  await expect(listener.take("test/next")).rejects.toMatchObject({
    code: "LISTENER_CANNOT_OPEN",
    message: expect.stringContaining(
      "all 256 slots are in use; wait for generations that drain, or end one",
    ) as string,
  });
  expect({
    owners: listener.slots.map(({ owner }) => owner),
    shares: listener.shares,
    kept: [...theKeeper().held.keys()],
  }).toEqual(before);
  expect(spreadOver(listener, 50)[0]).toBe(50);

  const ended = listener.slots[100];
  if (ended === undefined) throw new Error("no slot 100");
  ended.owner = null;
  expect(await listener.take("test/next")).toBe(ended);
});
