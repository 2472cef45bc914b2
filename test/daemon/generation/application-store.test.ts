/** What applications keep, with a keeper that answers when the test says so. test/e2e/application-store.test.ts has the real one. */
import { openSync } from "node:fs";
import { beforeEach, expect, it } from "vitest";
import { ApplicationStore } from "../../../daemon/generation/application-store.ts";
import type { Surroundings } from "../../../daemon/surroundings.ts";
import { Descriptor } from "../../../handoff/descriptor.ts";
import { native } from "../../../handoff/native.ts";
import type { StoreRequest } from "../../../handoff/notify.ts";
import { expectTableUnchanged } from "../../handoff/native-support.ts";

expectTableUnchanged();

let answers: (() => void)[];
let refused: unknown[];
let store: ApplicationStore;
beforeEach(() => {
  [answers, refused] = [[], []];
  const answer = (): Promise<void> => new Promise((resolve) => answers.push(resolve));
  const surroundings = {
    keeper: () => ({ put: answer, remove: answer }),
    say: ({ code }: { readonly code?: string }) => refused.push(code),
  };
  store = new ApplicationStore(
    { number: 1, config: { name: "api", fdstore: { max: 1 } } },
    { storeOf: () => null, onChange: () => undefined },
    surroundings as unknown as Surroundings,
  );
});

function request(name: string, descriptor: Descriptor): StoreRequest {
  return { do: "store", name, isPolled: true, descriptors: [descriptor], isTruncated: false };
}

const nothing = (): Descriptor => new Descriptor(openSync("/dev/null", "r"));

it("two instances that store at once keep no more than one may", async () => {
  using first = nothing();
  using second = nothing();
  const both = [store.handle(request("a", first)), store.handle(request("b", second))];
  for (const answer of answers) answer();
  await Promise.all(both);
  expect([store.record.all.map(({ name }) => name), refused]).toEqual([["a"], ["STORE_FULL"]]);
  store.close();
  for (const answer of answers) answer();
});

it("the daemon closes what is let go when the keeper has: whoever is last may have to wait", async () => {
  using offered = nothing();
  const fd = offered.fd;
  const stored = store.handle(request("a", offered));
  answers.shift()?.();
  await stored;
  const removed = store.handle({ do: "remove", name: "a" });
  await new Promise(setImmediate);
  expect(native.isNonblocking(fd)).toBe(false); // It is open.
  answers.shift()?.();
  await removed;
  expect(() => native.isNonblocking(fd)).toThrow("EBADF");
});
