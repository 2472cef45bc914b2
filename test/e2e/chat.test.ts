/** examples/chat as it is, with two people who talk while it is deployed. */
import type { EventEmitter } from "node:events";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import { parse } from "yaml";
import { type Config, startDaemon } from "../support/daemon.ts";
import { root } from "../support/paths.ts";
import { addressOf } from "../support/ports.ts";
import { eventually } from "../support/processes.ts";

/** What is used of ws, which brings no types. */
interface Socket extends EventEmitter {
  send(text: string): void;
  terminate(): void;
}
const { WebSocket } = createRequire(import.meta.url)("ws") as { WebSocket: new (url: string) => Socket };

interface Line {
  readonly at: number;
  readonly text: string;
  readonly by: string;
}

/** Says its next line when it has heard the one before. */
class Person {
  readonly heard: Line[] = [];
  closed = false;
  readonly #socket: Socket;
  readonly #name: string;
  #said = 0;
  #talks = true;

  constructor(target: string, name: string) {
    this.#name = name;
    this.#socket = new WebSocket(`ws://${target}/`);
    this.#socket.on("open", () => this.#say());
    this.#socket.on("close", () => (this.closed = true));
    this.#socket.on("message", (data: Buffer) => {
      const line = JSON.parse(data.toString()) as Line;
      // As the page has it.
      if (line.at <= (this.heard.at(-1)?.at ?? 0)) return;
      this.heard.push(line);
      if (line.text === `${name} ${this.#said}` && this.#talks) this.#say();
    });
  }

  #say(): void {
    this.#said += 1;
    this.#socket.send(`${this.#name} ${this.#said}`);
  }

  /** How many lines it has said, when no further one comes. */
  quiet(): number {
    this.#talks = false;
    return this.#said;
  }

  [Symbol.dispose](): void {
    this.#socket.terminate();
  }
}

const of = ({ heard }: Person, name: string): string[] =>
  heard.map(({ text }) => text).filter((text) => text.startsWith(name));

test("over two deploys two people stay connected, and each hears every line once and in order", async () => {
  const example = parse(readFileSync(`${root}/examples/chat/handoffd.yaml`, "utf8")) as {
    readonly services: { readonly web: Config & { readonly command: readonly string[] } };
  };
  const { web } = example.services;
  await using daemon = await startDaemon({
    config: {
      listeners: { web: { address: "tcp:127.0.0.1:0" } },
      services: {
        web: { ...web, directory: root, environment: { CHAT_FILE: "{dir}/said" }, deploy: { bake: "50ms" } },
      },
    },
  });
  const { target } = addressOf(await daemon.status(), "web");
  using ann = new Person(target, "ann");
  using bob = new Person(target, "bob");
  const people = [ann, bob];
  const hear = (version: string) =>
    eventually(`version ${version}`, () => people.every(({ heard }) => heard.at(-1)?.by === version));
  await hear("1");
  for (const version of ["2", "3"]) {
    expect(await daemon.deploy(version, { service: "web" })).toMatchObject({ phase: "succeeded" });
    await hear(version);
  }
  const said = { ann: ann.quiet(), bob: bob.quiet() };
  const lines = (name: "ann" | "bob"): string[] =>
    Array.from({ length: said[name] }, (_, index) => `${name} ${index + 1}`);
  await eventually("the last lines", () =>
    people.every((each) => each.heard.length >= said.ann + said.bob - 1),
  );
  // Who comes second may miss the first line of the other.
  expect(of(ann, "ann")).toEqual(lines("ann"));
  expect(of(bob, "bob")).toEqual(lines("bob"));
  expect(of(ann, "bob")).toEqual(lines("bob").slice(-of(ann, "bob").length));
  expect(of(bob, "ann")).toEqual(lines("ann").slice(-of(bob, "ann").length));
  expect(people.map(({ closed }) => closed)).toEqual([false, false]);
  expect(new Set(ann.heard.map(({ by }) => by))).toEqual(new Set(["1", "2", "3"]));
});
