/** A program sends a connection whose last close(2) takes as long as it likes, and closes its own: nobody waits in the loop. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ProgramChannel, SAID_NOTHING } from "../../daemon/generation/program-channel.ts";
import { Channel } from "../../handoff/channel.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { encodeFrame, textField } from "../../handoff/frame.ts";
import { closeForeign } from "../../handoff/foreign.ts";
import { type InetAddress, native } from "../../handoff/native.ts";
import { NotifySocket } from "../../handoff/notify.ts";
import { eventually } from "../support/processes.ts";
import { expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();

const LINGER_S = 5;
const AT_ONCE_MS = 2000;
/** Sends its third argument, with the connection, to the socket at 3. */
const SCRIPT = `
import array, socket, struct, sys
to = socket.socket(fileno=3)
sent = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
sent.setblocking(False)
try:
    while True: sent.send(b"x" * 65536)
except BlockingIOError: pass
sent.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, int(sys.argv[2])))
to.sendmsg([bytes.fromhex(sys.argv[3])], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sent.fileno()]))])
`;

/** Accepts nothing and reads nothing. Closed, it ends the lingering. */
let sink: Descriptor;
let folder = "";
beforeEach(() => {
  folder = mkdtempSync(`${tmpdir()}/foreign-`);
  sink = new Descriptor(native.socket("inet", "stream", true));
  native.bind(sink.fd, { family: "inet", host: "127.0.0.1", port: 0 });
  native.listen(sink.fd, 10);
});
afterEach(() => {
  sink.close();
  rmSync(folder, { recursive: true });
});

/** When it returns, whoever has the other end of `to` has the only copy. */
function sendLingering(to: number, bytes: Uint8Array): void {
  const { port } = native.localAddress(sink.fd) as InetAddress;
  const words = ["-c", SCRIPT, String(port), String(LINGER_S), Buffer.from(bytes).toString("hex")];
  const sender = spawnSync("python3", words, { stdio: ["ignore", "inherit", "inherit", to] });
  expect(sender.status).toBe(0);
}

/** The work, and two turns of the loop after it. */
async function expectAtOnce(work: () => unknown): Promise<void> {
  const began = performance.now();
  await work();
  for (let turn = 0; turn < 2; turn++) await new Promise(setImmediate);
  expect(performance.now() - began).toBeLessThan(AT_ONCE_MS);
}

function notifySocket(): { readonly socket: NotifySocket; readonly heard: string[]; client: Descriptor } {
  const heard: string[] = [];
  const path = `${folder}/notify`;
  const socket = NotifySocket.open(path, null, (message) => heard.push(...message.values()));
  const client = new Descriptor(native.socket("unix", "dgram", true));
  native.connect(client.fd, { family: "unix", path });
  return { socket, heard, client };
}

it.each(["STATUS=one", "FDSTORE=1"])("NOTIFY_SOCKET: with %s", async (text) => {
  const { socket, heard, client } = notifySocket();
  using own = client;
  sendLingering(own.fd, Buffer.from(text));
  native.sendMessage(own.fd, Buffer.from("STATUS=two"), []);
  await expectAtOnce(() => eventually("the first", () => heard.length > 0));
  // What the same program says waits for it, and nobody else.
  expect(heard).toHaveLength(1);
  sink.close();
  await eventually("the second", () => heard.at(-1) === "two");
  socket.close();
});

it("NOTIFY_SOCKET: unread when it is closed", async () => {
  const { socket, client } = notifySocket();
  using own = client;
  sendLingering(own.fd, Buffer.from("STATUS=one"));
  await expectAtOnce(() => socket.close());
});

const HELLO = encodeFrame({ type: 6, flags: 0, fields: [textField(11, "http/web")] });

it.each([
  ["well said", HELLO],
  ["nonsense", Buffer.from("nonsense")],
  ["unread when it is closed", null],
])("the program's channel: %s", async (_, bytes) => {
  const [ours, theirs] = native.seqpacketPair();
  using peer = new Descriptor(theirs);
  const hooks = { onSaid: () => undefined, onViolation: () => undefined };
  const program = new ProgramChannel(new Channel(new Descriptor(ours)), SAID_NOTHING, hooks);
  sendLingering(peer.fd, bytes ?? HELLO);
  await expectAtOnce(() =>
    bytes === null ? program.close() : eventually("the violation", () => !program.open),
  );
});

it("closing resolves when all of them are closed", async () => {
  const [reader, writer] = native.pipe();
  using other = new Descriptor(reader);
  using kept = new Descriptor(native.duplicate(writer));
  const closed = closeForeign([new Descriptor(writer), new Descriptor(native.memfd("other"))]);
  kept.close();
  await closed;
  expect(native.isHungUp(other.fd)).toBe(true);
  await closeForeign([]);
});
