/** The daemon's side of the keeper against a keeper that is the test, and misbehaves. */
import { mkdtempSync, openSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { encodeFrame, textField, u32Field } from "../../handoff/frame.ts";
import { KeeperProcess } from "../../handoff/keeper.ts";
import { native } from "../../handoff/native.ts";
import { expectTableUnchanged, receive } from "./native-support.ts";

expectTableUnchanged();

const OK = encodeFrame({ type: 4, flags: 0, fields: [] });

let folder = "";
let path = "";
let nothing = -1;
let listening: Descriptor;
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/keeper-`);
  path = `${folder}/keeper.sock`;
  nothing = openSync("/dev/null", "r+");
  listening = new Descriptor(native.socket("unix", "seqpacket", true));
  native.bind(listening.fd, { family: "unix", path });
  native.listen(listening.fd, 8);
});
afterEach(() => {
  listening.close();
  native.close(nothing);
  rmSync(folder, { recursive: true });
});

/** The daemon's side, and the socket of a keeper that we are. */
function impostor(): { keeper: KeeperProcess; peer: Descriptor } {
  const keeper = KeeperProcess.connect(path);
  if (keeper === null) throw new Error("there is no keeper");
  return { keeper, peer: new Descriptor(native.accept(listening.fd) ?? -1) };
}

const items = (names: readonly string[], more: boolean): Uint8Array =>
  encodeFrame({ type: 19, flags: more ? 1 : 0, fields: names.map((name) => textField(8, name)) });

it.each<[string, readonly [Uint8Array, number][], string]>([
  ["other names than descriptors", [[items(["a", "b"], false), 1]], "HANDOFF_VIOLATION"],
  ["no names for its descriptors", [[items([], false), 2]], "HANDOFF_VIOLATION"],
  [
    "a name twice",
    [
      [items(["a"], true), 1],
      [items(["a"], false), 1],
    ],
    "HANDOFF_VIOLATION",
  ],
  [
    "something else in the middle",
    [
      [items(["a"], true), 1],
      [OK, 1],
    ],
    "HANDOFF_VIOLATION",
  ],
  [
    "garbage in the middle",
    [
      [items(["a"], true), 1],
      [Uint8Array.of(1), 1],
    ],
    "HANDOFF_VIOLATION",
  ],
  ["the first half of a list, and dies", [[items(["a"], true), 1]], "HANDOFF_PEER_GONE"],
])(
  "a keeper that answers with %s loses the channel, and what it sent is closed",
  async (_, messages, code) => {
    const { keeper, peer } = impostor();
    const listing = keeper.list().catch((error: unknown) => error);
    for (const [bytes, count] of messages)
      native.sendMessage(peer.fd, bytes, Array<number>(count).fill(nothing));
    if (code === "HANDOFF_PEER_GONE") {
      await receive(peer.fd);
      peer.close();
    }
    expect(await listing).toMatchObject({ code });
    await expect(keeper.put("x", nothing)).rejects.toMatchObject({ code });
    peer.close();
  },
);

it("a keeper that sends descriptors with its answer loses the channel, and they are closed", async () => {
  const { keeper, peer } = impostor();
  const asked = keeper.put("x", nothing);
  native.sendMessage(peer.fd, OK, [nothing, nothing]);
  await expect(asked).rejects.toMatchObject({ code: "HANDOFF_VIOLATION" });
  for (const fd of (await receive(peer.fd)).descriptors) native.close(fd);
  peer.close();
});

it("a refusal breaks nothing: it is the asker's failure, and the next is served", async () => {
  const { keeper, peer } = impostor();
  const asked = keeper.put("x", nothing);
  native.sendMessage(
    peer.fd,
    encodeFrame({
      type: 3,
      flags: 0,
      fields: [textField(5, "put"), u32Field(6, 24), textField(7, "no room")],
    }),
    [],
  );
  await expect(asked).rejects.toMatchObject({
    code: "KEEPER_FAILED",
    message:
      "the keeper could not keep a descriptor: EMFILE (no room); listening sockets are not held outside the daemon",
  });
  const next = keeper.remove(["x"]);
  for (const fd of (await receive(peer.fd)).descriptors) native.close(fd);
  native.sendMessage(peer.fd, OK, []);
  await next;
  keeper.close();
  peer.close();
});
