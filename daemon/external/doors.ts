/** The handoff sockets of all services: opened with them, changed by a reload, and handed on by an upgrade. */
import { existsSync, mkdirSync } from "node:fs";
import { dirname, join } from "node:path";
import { hasCode, messageOf } from "../../handoff/coded-error.ts";
import type { Descriptor } from "../../handoff/descriptor.ts";
import { HandoffSocket, type SocketAccess } from "../../handoff/handoff-socket.ts";
import { native } from "../../handoff/native.ts";
import type { ExternalConfig, ServiceConfig } from "../config/config.ts";
import { Door } from "./door.ts";
import { cannotPrepare, handoffSocketInUse } from "../errors.ts";
import type { Surroundings } from "../surroundings.ts";

/** All that can fail has been done. */
export interface PreparedDoors {
  readonly commit: () => void;
  readonly undo: () => void;
}

export class Doors {
  readonly #runtime: string;
  readonly #say: Surroundings["say"];
  #doors = new Map<string, Door>();

  constructor(runtime: string, say: Surroundings["say"]) {
    this.#runtime = runtime;
    this.#say = say;
  }

  /** null: the service has none, by its present configuration. */
  of(service: string): Door | null {
    return this.#doors.get(service) ?? null;
  }

  /** Where launchers of the service connect to. */
  pathOf({ name, external }: Pick<ServiceConfig, "name" | "external">): string {
    return external?.socket ?? join(this.#runtime, `${name}.sock`);
  }

  /** By the names under which the next image finds them. They stay the doors'. */
  get descriptors(): ReadonlyMap<string, number> {
    return new Map([...this.#doors].map(([service, { fd }]) => [nameOf(service), fd]));
  }

  /**
   * Opens what these services need and are without. `kept`: what an image before has left, which is taken out of it where it is
   * the same socket. Throws HANDOFF_SOCKET_IN_USE or DIRECTORY_UNUSABLE, and then nothing has changed.
   */
  prepare(services: readonly ServiceConfig[], kept = new Map<string, Descriptor>()): PreparedDoors {
    const opened: Door[] = [];
    const next = new Map<string, Door>();
    const undo = (): void => {
      for (const door of opened) door.close();
    };
    try {
      for (const service of services) {
        if (service.external === null) continue;
        const known = this.#doors.get(service.name);
        if (known !== undefined && known.path === this.pathOf(service)) {
          next.set(service.name, known);
          continue;
        }
        const socket = this.#open(service, service.external, kept);
        const door = new Door(service.name, socket, service.external.allow, this.#say);
        opened.push(door);
        next.set(service.name, door);
      }
    } catch (error) {
      undo();
      throw error;
    }
    return { commit: () => this.#commit(next, services), undo };
  }

  #commit(next: Map<string, Door>, services: readonly ServiceConfig[]): void {
    for (const [name, door] of this.#doors) if (next.get(name) !== door) door.close();
    this.#doors = next;
    for (const { name, external } of services) {
      const door = next.get(name);
      if (door === undefined || external === null) continue;
      door.rule = external.allow;
      door.open();
    }
  }

  /** Who connects waits in the queues until `unpause`. */
  pause(): void {
    for (const door of this.#doors.values()) door.pause();
  }

  unpause(): void {
    for (const door of this.#doors.values()) door.open();
  }

  close(): void {
    for (const door of this.#doors.values()) door.close();
    this.#doors = new Map();
  }

  #open(service: ServiceConfig, external: ExternalConfig, kept: Map<string, Descriptor>): HandoffSocket {
    const path = this.pathOf(service);
    const access = accessOf(external.allow);
    const name = nameOf(service.name);
    const found = kept.get(name);
    kept.delete(name);
    try {
      mkdirSync(join(dirname(path), "notify"), { recursive: true, mode: 0o711 });
      if (found !== undefined && isBoundTo(found, path)) {
        const socket = HandoffSocket.resume(path, found);
        socket.allow(access);
        return socket;
      }
      found?.close();
      return HandoffSocket.open(path, access);
    } catch (error) {
      if (hasCode(error, "EADDRINUSE")) throw handoffSocketInUse(service.name, path);
      throw cannotPrepare(path, `the handoff socket cannot be opened: ${messageOf(error)}`, error);
    }
  }
}

function nameOf(service: string): string {
  return `handoff/${service}`;
}

/** Somebody may have removed the path meanwhile; then nobody finds the socket any more. */
function isBoundTo(socket: Descriptor, path: string): boolean {
  const address = native.localAddress(socket.fd);
  return address.family === "unix" && address.path === path && existsSync(path);
}

/** A file has one owner and one group. */
function accessOf({ uids, gids }: ExternalConfig["allow"]): SocketAccess {
  const [uid = null, ...otherUsers] = uids;
  const [gid = null, ...otherGroups] = gids;
  return otherUsers.length + otherGroups.length > 0 ? "anyone" : { uid, gid };
}
