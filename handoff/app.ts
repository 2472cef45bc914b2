/**
 * The application's side (docs/sdk.md): `import { serve } from "handoffd/app"`. Works under handoffd, under systemd's socket
 * activation, and alone.
 */
import type { Server } from "node:net";
import { type Keepable, keep, forget } from "./app/store.ts";
import type { DrainCallback } from "./app/drain.ts";
import type { Inherited } from "./app/environment.ts";
import type { MoveCounts } from "./app/moves.ts";
import { Program } from "./app/program.ts";
import { serveIn, type ServeOptions } from "./app/serve.ts";
import type { Target } from "./app/target.ts";

export type { DrainCallback, Deadline } from "./app/drain.ts";
export type { Inherited } from "./app/environment.ts";
export type { MoveCounts } from "./app/moves.ts";
export type { SocketMover } from "./app/net.ts";
export type { ServeOptions } from "./app/serve.ts";
export type { Keepable } from "./app/store.ts";
export type { WebSocketMover } from "./app/ws.ts";
export type { Target } from "./app/target.ts";

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

/** The listening sockets that this process was given, in order. */
export function listeners(): readonly Inherited[] {
  return here().listeners;
}

/**
 * Has the service manager keep a descriptor beyond this process (FDSTORE=1, sd_pid_notify_with_fds(3)): the next one is given it, and
 * finds it in `stored`. What is kept under that name already stays, too: `unstore` it first. The descriptor stays the caller's.
 *
 * Resolves when it was sent; what does not fit (`fdstore.max`, FileDescriptorStoreMax=) is not kept. Throws APP_STORE_NAME, and TypeError.
 */
export function store(name: string, what: Keepable): Promise<void> {
  return keep(here(), name, what);
}

/** What is kept under that name is let go of. */
export function unstore(name: string): Promise<void> {
  return forget(here(), name);
}

/** What an earlier process has stored, by name and in order: descriptors that are this process's now, and the caller's to use or close. */
export function stored(): readonly Inherited[] {
  return here().stored;
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
