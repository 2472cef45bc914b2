/** What keeps the page up to date, against the real server with a fake daemon behind it. */
import { expect, onTestFinished, test, vi } from "vitest";

import { Api } from "../../admin-api/dashboard/api.ts";
import { Live } from "../../admin-api/dashboard/live.ts";
import { type Action, initial, reduce, type State } from "../../admin-api/dashboard/state.ts";
import { readStream } from "../../admin-api/dashboard/stream.ts";
import { ROOT, type Serving, serve } from "../admin-api/serving.ts";
import { bearer, keyRing, tcpDoor } from "../admin-api/tcp.ts";
import { eventually } from "../support/processes.ts";

interface Watching {
  readonly serving: Serving;
  readonly live: Live;
  readonly ended: Promise<void>;
  /** Every path that was asked for, with the header Last-Event-ID of a stream. */
  readonly asked: readonly string[];
  /** What there is between the page and the daemon. */
  readonly network: {
    isDown: boolean;
    hasStreams: boolean;
    isVisible: boolean;
    looks: number;
    cutStreams: () => void;
  };
  readonly until: (what: string, look: (state: State) => boolean) => Promise<State>;
}

/** `token`: of the ring's callers; null: none is sent, and none is needed. */
async function watch(token: "reader" | "nobody" | null = null): Promise<Watching> {
  const { access, tokens } = keyRing();
  const serving = await serve(token === null ? {} : { access });
  const { url } = await tcpDoor(serving.server);
  const asked: string[] = [];
  const streams = new Set<AbortController>();
  const network = {
    isDown: false,
    hasStreams: true,
    isVisible: true,
    looks: 0,
    cutStreams: () => streams.forEach((stream) => stream.abort()),
  };
  const real = globalThis.fetch;
  vi.stubGlobal("fetch", async (input: URL, init: RequestInit) => {
    const headers = new Headers(init.headers);
    const isStream = headers.get("accept") === "text/event-stream";
    asked.push(`${input.pathname}${isStream ? ` after ${headers.get("last-event-id") ?? ""}` : ""}`);
    if (network.isDown || (isStream && !network.hasStreams)) throw new TypeError("fetch failed");
    const cut = new AbortController();
    if (isStream) streams.add(cut);
    const signals = init.signal == null ? [cut.signal] : [cut.signal, init.signal];
    return real(input, { ...init, signal: AbortSignal.any(signals) });
  });
  onTestFinished(() => void vi.unstubAllGlobals());

  let state = initial(Date.now());
  const dispatch = (action: Action): void => void (state = reduce(state, action));
  const stop = new AbortController();
  const api = new Api(new URL(`${url}/`), token === null ? null : (tokens[token] ?? "hd_unknown"));
  const live = new Live({
    api,
    dispatch,
    signal: stop.signal,
    now: () => Date.now(),
    isVisible: () => {
      network.looks += 1;
      return network.isVisible;
    },
  });
  const ended = live.run().then(() => stop.abort());
  onTestFinished(async () => {
    stop.abort();
    await ended;
  });
  const until = async (what: string, look: (state: State) => boolean): Promise<State> => {
    await eventually(what, () => look(state), 25_000);
    return state;
  };
  return { serving, live, ended, asked, network, until };
}

test("a deploy that begins is seen by its event, without asking for deploys again and again", async () => {
  const { serving, asked, until } = await watch();
  await until("a live page", ({ link, status }) => link.kind === "live" && status !== null);
  const before = asked.filter((path) => path === "/v1/deploys").length;
  serving.operations.deploy("api", { version: "42" }, ROOT);
  const state = await until(
    "the deploy",
    ({ deploys, status }) => deploys.length === 1 && status?.services[0]?.deploy != null,
  );
  expect(state.events[0]).toMatchObject({ deploy: "d-1", phase: "starting" });
  expect(state.caller).toEqual({ name: "anonymous", role: "read", services: null });
  expect(asked.filter((path) => path === "/v1/deploys").length).toBe(before + 1);
});

test("a stream that is cut is taken up where it ended, and nothing is missed or seen twice", async () => {
  const { serving, asked, network, until } = await watch();
  const say = (message: string) => serving.operations.events.append({ type: "instance.ready", message });
  const { id } = say("one");
  await until("the first event", ({ events }) => events.length === 1);
  network.cutStreams();
  say("two");
  say("three");
  const { events } = await until("the others", (state) => state.events.length === 3);
  expect(events.map(({ message }) => message)).toEqual(["three", "two", "one"]);
  expect(asked).toContain(`/v1/events after ${id}`);
  await until("a live page", ({ link }) => link.kind === "live");
});

test("where no stream holds, the daemon is asked instead, and the page says so", async () => {
  const { serving, network, live, until } = await watch();
  network.hasStreams = false;
  network.cutStreams();
  await until("a page that asks", ({ link }) => link.kind === "polling");
  serving.operations.version = "42";
  live.refresh();
  await until("the version", ({ status }) => status?.services[0]?.generations[0]?.version === "42");
  network.hasStreams = true;
  await until("a live page", ({ link }) => link.kind === "live");
});

test("a daemon that does not answer is said to be gone since it last did, and one that comes back is asked who asks", async () => {
  const { asked, network, until } = await watch();
  const seen = await until("a live page", ({ link, status }) => link.kind === "live" && status !== null);
  network.isDown = true;
  network.cutStreams();
  const lost = await until("a loss", ({ link }) => link.kind === "lost");
  expect(lost.lastSeenMs).toBeGreaterThanOrEqual(seen.lastSeenMs ?? Infinity);
  expect(lost.status).not.toBeNull();
  const before = asked.filter((path) => path === "/v1/caller").length;
  network.isDown = false;
  await until("a live page", ({ link }) => link.kind === "live");
  expect(asked.filter((path) => path === "/v1/caller").length).toBeGreaterThan(before);
});

test("without a token that holds nothing is asked any more", async () => {
  const { ended, asked, until } = await watch("nobody");
  const { link, status } = await until("a locked page", (state) => state.link.kind === "locked");
  expect([link, status]).toEqual([
    { kind: "locked", why: expect.stringContaining("not known") as string },
    null,
  ]);
  await ended;
  expect(asked.filter((path) => path !== "/v1/caller" && !path.startsWith("/v1/events"))).toEqual([]);
});

test("a token goes in a header, of the stream too, and in no address", async () => {
  const { serving, asked, until } = await watch("reader");
  const { caller } = await until(
    "a live page",
    ({ link, status }) => link.kind === "live" && status !== null,
  );
  expect(caller).toMatchObject({ name: "reader", role: "read" });
  expect(asked.join(" ")).not.toContain("hd_");
  // The same server refuses those who bring none.
  const door = await tcpDoor(serving.server);
  expect((await door.ask("GET", "/v1/status")).status).toBe(401);
  expect((await door.ask("GET", "/v1/status", undefined, bearer("hd_x"))).status).toBe(401);
});

test("a page that nobody sees asks for nothing by the clock", async () => {
  const { asked, network, until } = await watch();
  await until("a live page", ({ link, status }) => link.kind === "live" && status !== null);
  network.isVisible = false;
  const first = network.looks;
  // A look that had begun may still ask.
  await until("the next look", () => network.looks > first);
  const before = asked.filter((path) => path === "/v1/status").length;
  await until("two more", () => network.looks > first + 2);
  expect(asked.filter((path) => path === "/v1/status").length).toBe(before);
});

test("a stream is read whatever the pieces are in which it comes", async () => {
  const text =
    ': alive\n\nid: 7\nevent: deploy.phase\ndata: {"id":7,\ndata: "at":"…"}\n\nretry: 5\n\ndata: end\n\nevent: half';
  const bytes = new TextEncoder().encode(text);
  for (const size of [1, 2, 3, 7, 1000]) {
    let at = 0;
    const body = new ReadableStream<Uint8Array>({
      pull(controller) {
        if (at >= bytes.length) controller.close();
        else controller.enqueue(bytes.slice(at, (at += size)));
      },
    });
    let alive = 0;
    const messages = [];
    for await (const message of readStream(body, () => (alive += 1))) messages.push(message);
    expect(messages).toEqual([
      { event: "deploy.phase", data: '{"id":7,\n"at":"…"}' },
      { event: "message", data: "end" },
    ]);
    expect(alive).toBe(Math.ceil(bytes.length / size));
  }
});
