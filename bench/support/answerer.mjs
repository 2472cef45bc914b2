// The other end of the descriptor benchmark: takes one, closes it, acknowledges. Descriptor 3 is the channel.
import { product } from "./product.mjs";

const CHANNEL = 3;
const { native } = await product("handoff/native");
native.setNonblocking(CHANNEL, true);
const buffer = new Uint8Array(64);
const acknowledgement = new Uint8Array(64);
const poll = new native.Poll(CHANNEL, () => {
  const received = native.receiveMessage(CHANNEL, buffer, 1);
  if (received === null) return;
  if (received.length === 0) return poll.close();
  const [descriptor] = received.descriptors;
  if (descriptor === undefined) throw new Error("no descriptor came");
  native.close(descriptor);
  native.sendMessage(CHANNEL, acknowledgement, []);
});
poll.start();
console.log("ready");
