/**
 * The daemon's part in moving connections, played by the test: it holds the listening socket, starts generations of an application on
 * it, and makes ways between them (a pair, an end to each, ROUTE on HANDOFF_FD).
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { createInterface } from "node:readline";
import { encodeFrame, type Field, type Frame, textField, u32Field } from "../../handoff/frame.ts";
import { FrameSocket } from "../../handoff/app/frames.ts";
import { Descriptor } from "../../handoff/descriptor.ts";
import { native } from "../../handoff/native.ts";
import { NotifySocket } from "../../handoff/notify.ts";
import { commandOf, root } from "./paths.ts";
import { end, environment, eventually, start, withDeadline, type Exit, type Process } from "./processes.ts";

const ROUTE = 7;
const HELLO = 6;
const KEY = { generation: 9, instance: 10, kind: 11, direction: 12 } as const;
/** On a machine that does other things, too. */
const WAIT_MS = 60_000;
const decoder = new TextDecoder();

export interface GenerationOptions {
  /** The node that runs it. Default: HANDOFFD_TEST_NODE, or the one that runs the tests. */
  readonly node?: string;
  readonly environment?: Readonly<Record<string, string>>;
  /** Further descriptors, from 5 on. */
  readonly more?: readonly number[];
}

export class Generation {
  readonly number: number;
  readonly process: Process;
  /** What it said on HANDOFF_FD, in order. */
  readonly said: Frame[] = [];
  /** What it said to NOTIFY_SOCKET, in order. */
  readonly notes: readonly ReadonlyMap<string, string>[];
  /** What it printed. */
  readonly lines: string[] = [];
  readonly errors: string[] = [];
  readonly channel: FrameSocket;
  readonly #notify: NotifySocket;

  constructor(
    number: number,
    process: Process,
    channel: Descriptor,
    notify: { readonly socket: NotifySocket; readonly notes: readonly ReadonlyMap<string, string>[] },
  ) {
    this.number = number;
    this.process = process;
    this.#notify = notify.socket;
    this.notes = notify.notes;
    this.channel = new FrameSocket(
      channel,
      ({ frame, descriptors }) => {
        for (const fd of descriptors) native.close(fd);
        this.said.push(frame);
        return null;
      },
      () => undefined,
    );
    const { stdout, stderr } = process.child;
    if (stdout !== null) createInterface({ input: stdout }).on("line", (line) => this.lines.push(line));
    if (stderr !== null) createInterface({ input: stderr }).on("line", (line) => this.errors.push(line));
  }

  get pid(): number {
    return this.process.pid;
  }

  get kinds(): string[] {
    const hello = this.said.findLast(({ type }) => type === HELLO);
    return (hello?.fields ?? []).map(({ value }) => decoder.decode(value));
  }

  async ready(): Promise<this> {
    await eventually(
      `READY=1 of generation ${this.number}\n${this.errors.join("\n")}`,
      () => this.notes.some((note) => note.get("READY") === "1"),
      WAIT_MS,
    );
    return this;
  }

  /** Waits until it has said STOPPING=1: the first connection that could move has been sent by then. */
  async stopping(): Promise<void> {
    await eventually("STOPPING=1", () => this.notes.some((note) => note.get("STOPPING") === "1"), WAIT_MS);
  }

  /** Waits until so many of its connections are on their way. */
  async leaving(count: number): Promise<void> {
    await eventually(`${count} connections on their way`, () => {
      this.process.kill("SIGUSR2");
      return this.lines.includes(`leaving ${count}`);
    });
  }

  /** How it ended. */
  async exit(timeoutMs = WAIT_MS): Promise<Exit> {
    return withDeadline(this.process.exit, timeoutMs, `the end of generation ${this.number}`);
  }

  /** What its `moves()` said at its end. */
  async counts(): Promise<Record<string, unknown>> {
    const line = await eventually(
      `the counts of generation ${this.number}`,
      () => this.lines.find((each) => each.startsWith("moves ")),
      WAIT_MS,
    );
    return JSON.parse(line.slice(6)) as Record<string, unknown>;
  }

  async close(): Promise<void> {
    await end(this.process);
    this.channel.close();
    this.#notify.close();
  }
}

export class Generations implements AsyncDisposable {
  readonly port: number;
  readonly #listener: Descriptor;
  readonly #folder: string;
  readonly #all: Generation[] = [];

  private constructor(listener: Descriptor, port: number) {
    this.#listener = listener;
    this.port = port;
    this.#folder = mkdtempSync(`${tmpdir()}/gen-`);
  }

  static open(): Generations {
    const listener = new Descriptor(native.socket("inet", "stream", true));
    native.bind(listener.fd, { family: "inet", host: "127.0.0.1", port: 0 });
    native.listen(listener.fd, 4096);
    const address = native.localAddress(listener.fd);
    return new Generations(listener, "port" in address ? address.port : 0);
  }

  get target(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts the next one. It accepts as soon as it listens, beside those that were there. */
  start(name: string, options: GenerationOptions = {}): Generation {
    const number = this.#all.length + 1;
    const [ours, theirs] = native.seqpacketPair();
    using child = new Descriptor(theirs);
    const path = `${this.#folder}/notify-${number}`;
    const notes: ReadonlyMap<string, string>[] = [];
    const socket = NotifySocket.open(path, null, (message) => notes.push(message));
    const [program, ...args] = commandOf(name);
    const command = [
      program === process.execPath ? (options.node ?? process.env["HANDOFFD_TEST_NODE"] ?? program) : program,
      ...args,
    ];
    const launched = start("python3", [`${root}/test/fixtures/by-hand.py`, "nonblocking", ...command], {
      stdio: ["ignore", "pipe", "pipe", this.#listener.fd, child.fd, ...(options.more ?? [])],
      env: environment({
        LISTEN_FDS: "1",
        LISTEN_FDNAMES: "web",
        NOTIFY_SOCKET: path,
        HANDOFF_FD: "4",
        HANDOFF_VERSION: `v${number}`,
        HANDOFF_GENERATION: String(number),
        ...options.environment,
      }),
    });
    const generation = new Generation(number, launched, new Descriptor(ours), { socket, notes });
    this.#all.push(generation);
    return generation;
  }

  /** Makes a way from one to the other: both find it in their channel. */
  route(from: Generation, to: Generation): void {
    const [a, b] = native.seqpacketPair();
    using sends = new Descriptor(a);
    using takes = new Descriptor(b);
    // It was said before READY=1, on another socket.
    to.channel.hearAll();
    this.offer(to, "take", takes, from.number, []);
    this.offer(from, "send", sends, to.number, to.kinds);
  }

  /** The end stays the caller's. */
  offer(
    to: Generation,
    direction: "send" | "take",
    end: Descriptor,
    other: number,
    kinds: readonly string[],
  ): void {
    const fields: Field[] = [
      u32Field(KEY.direction, direction === "send" ? 0 : 1),
      u32Field(KEY.generation, other),
      u32Field(KEY.instance, 1),
      ...kinds.map((kind) => textField(KEY.kind, kind)),
    ];
    to.channel.send(encodeFrame({ type: ROUTE, flags: 0, fields }), [end.fd]);
  }

  /** As a deploy does it: the next one is started, then the old one is told to end, with a way between them. */
  async replace(old: Generation, name: string, options: GenerationOptions = {}): Promise<Generation> {
    const next = await this.start(name, options).ready();
    this.route(old, next);
    old.process.kill("SIGTERM");
    return next;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#all.map((each) => each.close()));
    this.#listener.close();
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
