import { once } from "node:events";
import { type IncomingMessage, type ServerResponse, createServer, get } from "node:http";
import { connect } from "node:net";
import { join } from "node:path";

import { expect, onTestFinished, test } from "vitest";

import type { StreamMessage } from "../../admin-api/client.ts";
import { EventLog } from "../../admin-api/events.ts";
import { EventStreams } from "../../admin-api/event-stream.ts";
import type { Event } from "../../admin-api/schemas.ts";
import { FakeOperations } from "./fake-operations.ts";
import { serve, temporaryDirectory } from "./serving.ts";

const draft = (message: string) => ({ type: "instance.exited", message });

async function take(stream: AsyncGenerator<StreamMessage>, count: number): Promise<StreamMessage[]> {
  const messages: StreamMessage[] = [];
  for await (const message of stream) {
    messages.push(message);
    if (messages.length === count) break;
  }
  return messages;
}

const textOf = (message: StreamMessage) => (message.kind === "event" ? message.event.message : message.kind);

/** The stream's bytes as they come, for what a client does not show. */
async function open(socketPath: string, path: string, headers = {}): Promise<IncomingMessage> {
  const request = get({ socketPath, path, headers, agent: false });
  onTestFinished(() => void request.destroy());
  const [response] = (await once(request, "response")) as [IncomingMessage];
  return response.setEncoding("utf8");
}

async function until(response: IncomingMessage, wanted: string): Promise<string> {
  let text = "";
  for await (const chunk of response.iterator({ destroyOnReturn: false })) {
    text += chunk as string;
    if (text.includes(wanted)) return text;
  }
  throw new Error(`the stream ended without ${wanted}: ${text}`);
}

test("ids grow by one, and over a restart", () => {
  const first = new EventLog({ now: () => 1000 });
  expect([first.append(draft("a")).id, first.append(draft("b")).id]).toEqual([1_000_001, 1_000_002]);
  expect(new EventLog({ now: () => 1001 }).append(draft("c")).id).toBeGreaterThan(first.lastId);
});

test("the log keeps the newest events and says when some were missed", () => {
  const log = new EventLog({ capacity: 3, now: () => 0 });
  for (const message of ["a", "b", "c", "d"]) log.append(draft(message));
  const since = (id: number) => {
    const { events, missed } = log.since(id);
    return [events.map(({ message }) => message).join(""), missed];
  };
  expect([since(0), since(1), since(3), since(4)]).toEqual([
    ["bcd", true],
    ["bcd", false],
    ["d", false],
    ["", false],
  ]);
  // An id of a life in which the clock was ahead.
  expect(since(99)).toEqual(["bcd", true]);
});

test("a listener hears each event once, until it leaves", () => {
  const log = new EventLog();
  const heard: Event[] = [];
  const leave = log.subscribe((event) => void heard.push(event));
  log.subscribe(({ message }) => {
    if (message === "a") leave();
  });
  log.append(draft("a"));
  log.append(draft("b"));
  expect(heard.map(({ message }) => message)).toEqual(["a"]);
});

test("events come as they happen, after those that were asked for", async () => {
  const { client, operations } = await serve();
  const seen = operations.events.append(draft("seen"));
  operations.events.append(draft("missed while away"));
  const stream = client.events({ since: seen.id });
  const first = await take(stream, 1);
  expect(first.map(textOf)).toEqual(["missed while away"]);
});

test("a reader that comes back with its last id gets what it missed and then what happens, each once", async () => {
  const { path, operations } = await serve();
  const { id } = operations.events.append(draft("one"));
  operations.events.append(draft("two"));
  const response = await open(path, "/v1/events?since=0", { "last-event-id": String(id) });
  expect(response.headers["content-type"]).toBe("text/event-stream; charset=utf-8");
  operations.events.append(draft("three"));
  const text = await until(response, "three");
  expect([...text.matchAll(/"message":"(\w+)"/g)].map(([, word]) => word)).toEqual(["two", "three"]);
  expect(text).toContain(`id: ${id + 1}\nevent: instance.exited\ndata: {"id":${id + 1},`);
});

test("a reader whose last id is older than all that is kept is told that there is a gap", async () => {
  const { client, operations } = await serve({
    operations: new FakeOperations(new EventLog({ capacity: 1 })),
  });
  operations.events.append(draft("one"));
  const { id } = operations.events.append(draft("two"));
  expect((await take(client.events({ since: id - 2 }), 2)).map(textOf)).toEqual(["gap", "two"]);
  expect((await take(client.events({ since: 0 }), 1)).map(textOf)).toEqual(["two"]);
});

test("follow=false ends after what is kept", async () => {
  const { client, operations } = await serve();
  operations.events.append(draft("one"));
  expect((await take(client.events({ since: 0, follow: false }), 9)).map(textOf)).toEqual(["one", "end"]);
});

test("a Last-Event-ID that is none is refused before the stream begins", async () => {
  const { ask } = await serve();
  const { status, body } = await ask("GET", "/v1/events", undefined, { "last-event-id": "yesterday" });
  expect([status, body["code"]]).toEqual([400, "REQUEST_INVALID"]);
});

test("a deploy's stream shows its record after each change and ends with it", async () => {
  const { client, operations } = await serve();
  const { id } = await client.deploy("api");
  const phases: string[] = [];
  for await (const message of client.deployEvents(id)) {
    if (message.kind === "event") continue;
    phases.push(
      message.kind === "deploy"
        ? message.deploy.phase
        : `${message.kind} ${String("deploy" in message && message.deploy?.phase)}`,
    );
    if (message.kind !== "deploy") continue;
    if (message.deploy.phase === "starting") operations.enter(id, "verifying");
    else if (message.deploy.phase === "verifying") operations.enter(id, "failed");
  }
  expect(phases).toEqual(["starting", "verifying", "end failed"]);
});

test("a change that comes while the record is being read is not missed", async () => {
  const { client, operations } = await serve();
  const { id } = await client.deploy("api");
  const read = operations.getDeploy.bind(operations);
  let reads = 0;
  operations.getDeploy = (asked) => {
    const deploy = read(asked);
    reads += 1;
    // The second reading is the stream's first: the deploy ends before it has been told, and only its end is shown.
    if (reads === 2) operations.enter(id, "succeeded");
    return deploy;
  };
  const kinds: string[] = [];
  for await (const message of client.deployEvents(id)) kinds.push(message.kind);
  expect(kinds).toEqual(["event", "end"]);
});

test("a deploy's stream has no events of another deploy", async () => {
  const { client, operations } = await serve();
  const one = await client.deploy("api");
  operations.enter(one.id, "succeeded");
  const two = await client.deploy("api");
  operations.enter(two.id, "succeeded");
  const messages = await take(client.deployEvents(two.id, { since: 0 }), 9);
  expect(messages.map(textOf)).toEqual(["deploy d-2 was accepted", "deploy d-2 entered succeeded", "end"]);
});

test("the stream of an unknown deploy is a 404", async () => {
  const { ask } = await serve();
  expect((await ask("GET", "/v1/deploys/d-9/events")).status).toBe(404);
});

test("a reader that does not read holds nothing, is dropped, and learns on its return what is gone", async () => {
  const { path, door, operations, client } = await serve({
    operations: new FakeOperations(new EventLog({ capacity: 20 })),
    streams: { heartbeatMs: 20, stallMs: 60 },
  });
  const responses: ServerResponse[] = [];
  const closed = new Set<ServerResponse>();
  door.server.prependListener("request", (_request, response) => {
    responses.push(response);
    response.once("close", () => closed.add(response));
  });
  const { id } = operations.events.append(draft("before"));
  const idle = connect(path);
  idle.pause().on("error", () => undefined);
  idle.write("GET /v1/events HTTP/1.1\r\nHost: x\r\n\r\n");
  await once(door.server, "request");
  const other = await open(path, "/v1/events");
  // More than the kernel takes for a reader that does not read, in pieces that one that reads keeps up with.
  for (let n = 0; closed.size === 0; n += 1) {
    expect(n).toBeLessThan(1000);
    operations.events.append(draft(`${n}-${"x".repeat(32 * 1024)}-`));
    await until(other, `"${n}-`);
    expect(responses[0]?.writableLength).toBeLessThan(256 * 1024);
  }
  expect(closed).toEqual(new Set([responses[0]]));
  expect(other.destroyed).toBe(false);
  expect((await client.status()).pid).toBe(41);
  const back = await take(client.events({ since: id }), 2);
  expect(back.map(({ kind }) => kind)).toEqual(["gap", "event"]);
  idle.destroy();
});

test("a reader that was slow for a while gets everything, in order", async () => {
  const { path, operations } = await serve();
  const response = await open(path, "/v1/events");
  for (let n = 0; n < 300; n += 1) operations.events.append(draft(`${n}-${"x".repeat(16 * 1024)}`));
  operations.events.append(draft("last"));
  const text = await until(response, '"last"');
  const seen = [...text.matchAll(/"message":"(\d+)-/gu)].map(([, n]) => Number(n));
  expect(seen).toEqual(Array.from({ length: 300 }, (_, n) => n));
});

test("an event is found by its id at once, whatever is not kept any more", () => {
  const log = new EventLog({ capacity: 3, now: () => 0 });
  expect(log.next(0)).toEqual({ event: null, missed: false });
  for (const message of ["a", "b", "c", "d"]) log.append(draft(message));
  const next = (id: number) => {
    const { event, missed } = log.next(id);
    return [event?.message ?? null, missed];
  };
  expect([next(0), next(1), next(3), next(4), next(99)]).toEqual([
    ["b", true],
    ["b", false],
    ["d", false],
    [null, false],
    ["b", true],
  ]);
});

test("an idle stream carries heart-beats, whose timer exists only while there are readers", async () => {
  const { path } = await serve({ streams: { heartbeatMs: 5 } });
  const response = await open(path, "/v1/events");
  const text = await until(response, ": still here\n\n: still here");
  expect(text).toContain("retry: 1000\n\n");
});

test("the timer of the heart-beats exists only while there are readers", async () => {
  const path = join(await temporaryDirectory(), "events.sock");
  const streams = new EventStreams();
  let left = (): void => undefined;
  const gone = new Promise<void>((resolve) => (left = resolve));
  const server = createServer(
    (_request, response) => void streams.open(response, {}, { next: () => null, onClose: left }),
  );
  await new Promise<void>((resolve) => server.listen(path, resolve));
  onTestFinished(() => void server.close());
  expect([streams.readers, streams.beating]).toEqual([0, false]);
  const response = await open(path, "/");
  expect([streams.readers, streams.beating]).toEqual([1, true]);
  response.destroy();
  await gone;
  expect([streams.readers, streams.beating]).toEqual([0, false]);
});

test("closing the server ends the streams, and the reader learns that it was not the end", async () => {
  const { client, server, operations } = await serve();
  operations.events.append(draft("one"));
  const stream = client.events({ since: 0 });
  await stream.next();
  const next = stream.next();
  await server.close();
  await expect(next).rejects.toMatchObject({ code: "DAEMON_NOT_REACHABLE" });
});
