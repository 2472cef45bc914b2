/**
 * The application's side (docs/sdk.md): `import { serve } from "handoffd/app"`. Works under handoffd, under systemd's socket
 * activation, and alone.
 */
import type { Server } from "node:net";
import type { DrainCallback } from "./app-drain.ts";
import type { Inherited } from "./app-environment.ts";
import type { MoveCounts } from "./app-moves.ts";
import { Program } from "./app-program.ts";
import { serveIn, type ServeOptions } from "./app-serve.ts";
import type { Target } from "./app-target.ts";

export type { DrainCallback, Deadline } from "./app-drain.ts";
export type { Inherited } from "./app-environment.ts";
export type { MoveCounts } from "./app-moves.ts";
export type { ServeOptions } from "./app-serve.ts";
export type { Target } from "./app-target.ts";

let program: Program | null = null;

/** Made when it is first asked for: who only imports this has no signal handlers. */
function here(): Program {
  return (program ??= new Program(process.env, process.pid));
}

/**
 * Listens, on the socket that this process was given or else where `listen` says, says that it is ready, and drains when it is told to
 * end: idle connections move to the next generation, the others end politely. Resolves when it listens.
 *
 * Throws what listen(2) says (`EADDRINUSE`), and APP_NO_SUCH_LISTENER.
 */
export function serve(target: Target, options: ServeOptions = {}): Promise<Server> {
  return serveIn(here(), target, options);
}

/** What this process was given, in order: listening sockets, and what it has stored. The descriptors stay this module's until they are used. */
export function listeners(): readonly Inherited[] {
  return here().inherited;
}

/** Says READY=1. `serve` does it unless it is told not to. */
export function ready(): Promise<void> {
  return here().ready();
}

/** One line for people, in `systemctl status` and in the status of handoffd. */
export function status(text: string): void {
  here().status(text);
}

/** Called once when the process is told to end, which waits for what is returned, as long as the deadline lets it. */
export function onDrain(callback: DrainCallback): void {
  here().onDrain(callback);
}

/** Asks for `ms` more milliseconds from now on, to start or to drain. */
export function extend(ms: number): void {
  here().extend(ms);
}

/** What has moved, in numbers, and why nothing does where that is so. */
export function moves(): MoveCounts {
  return here().counts;
}
