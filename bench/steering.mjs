// What the kernel's program costs a new connection: the time of connect(2), in which the kernel takes the SYN to a slot, with
// sticky clients and with networks that the client is in none of (each is compared).
import { disposing } from "./support/child.mjs";
import { ratio, row, takeTurns } from "./support/figures.mjs";
import { product } from "./support/product.mjs";

export const title = "connect(2) over loopback, by what the program has to decide";

const BATCH = 200;
const NETWORKS = [10, 100];
const X = new Uint8Array(1);

export function run(options) {
  return disposing((own) => measure(options, own));
}

async function measure({ quick }, own) {
  const { native } = await product("handoff/native");
  const { NO_KEEPER } = await product("handoff/keeper");
  const { parseAddress } = await product("handoff/address");
  const { parseNetworks } = await product("handoff/network");
  const { TcpListener } = await product("handoff/tcp-listener");
  const rounds = quick ? 3 : 30;
  const rows = [];
  for (const [family, written] of [
    ["IPv4", "127.0.0.1:0"],
    ["IPv6", "[::1]:0"],
  ]) {
    const address = parseAddress(written);
    const options = { name: "bench", address, backlog: 1024, mode: null, gid: null, nextMark: null };
    const listener = await TcpListener.open(
      { ...options, keeper: () => NO_KEEPER, alwaysPinned: true, holderOf: () => null },
      address,
    );
    own({ [Symbol.asyncDispose]: () => listener.close() });
    await listener.take("bench/1");
    const where = native.localAddress(listener.slots[0].fd);
    const fds = listener.slots.map(({ fd }) => fd);
    for (const fd of fds) native.setNonblocking(fd, true);
    const half = [0, 1].map((slot) => ({ slot, share: 0.5 }));
    const side = (shares, how) => () => {
      listener.steer(shares, how);
      return batch(native, fds, where);
    };
    const guests = (count) => ({ slot: 0, networks: parseNetworks(networks(family, count)) });
    const sides = {
      "two weights, drawn": side(half),
      "one slot has all": side([{ slot: 0, share: 1 }]),
      "two weights, sticky": side(half, { sticky: 1 }),
      ...Object.fromEntries(
        NETWORKS.map((count) => [
          `two weights, drawn, ${count} networks`,
          side(half, { guests: guests(count) }),
        ]),
      ),
    };
    for (const warm of Object.values(sides)) warm();
    const results = await takeTurns(rounds, sides);
    const [reference] = Object.values(results);
    for (const [name, each] of Object.entries(results)) {
      const compared = each === reference ? {} : { ratio: ratio(each, reference), of: "drawn" };
      rows.push(row(`${family}: ${name}`, "µs", each.flat(), compared));
    }
  }
  return rows;
}

/** Networks that loopback is in none of, of every other length. */
function networks(family, count) {
  return Array.from({ length: count }, (_, n) =>
    family === "IPv4" ? `10.${n}.0.0/${16 + (n % 8)}` : `2001:db8:${n}::/${48 + (n % 16)}`,
  );
}

/** The microseconds of each of so many connections, which end by a reset: no port is left in TIME_WAIT. */
function batch(native, fds, where) {
  const times = [];
  const clients = [];
  for (let i = 0; i < BATCH; i++) {
    const client = native.socket(where.family, "stream", false);
    const began = performance.now();
    native.connect(client, where);
    times.push((performance.now() - began) * 1000);
    native.sendMessage(client, X, []);
    clients.push(client);
  }
  for (const fd of fds) for (let one; (one = native.accept(fd)) !== null;) native.close(one);
  for (const client of clients) native.close(client);
  return times;
}
