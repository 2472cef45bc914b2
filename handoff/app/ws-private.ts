/** The parts of the package ws that have no public name. `whyNoWebSocketMoves` tries them before anybody relies on them. */
import type { EventEmitter } from "node:events";
import { Socket } from "node:net";
import { hasEnded } from "./private.ts";

/** A WebSocket of ws, as far as it is needed here. */
export interface WebSocket extends EventEmitter {
  readonly readyState: number;
  readonly protocol: string;
  readonly extensions: string;
  close(code?: number, reason?: string): void;
}

/** A WebSocketServer of ws. Its `clients` are needed: clientTracking stays on. */
export interface WebSocketServer extends EventEmitter {
  readonly clients: Set<WebSocket>;
  readonly options: object;
}

interface Receiver {
  /** 0: the next byte is the first of a frame. */
  readonly _state: number;
  /** Whether the frame before was not the last of its message: its opcode. */
  readonly _fragmented: number;
  readonly _bufferedBytes: number;
  readonly _buffers: readonly Uint8Array[];
  readonly writableLength: number;
}

interface PrivateWebSocket extends WebSocket {
  readonly _socket: Socket | null;
  readonly _receiver: Receiver | null;
  readonly _sender: { readonly _queue: readonly unknown[]; readonly _bufferedBytes: number } | null;
  setSocket(socket: Socket, head: Uint8Array, options: object): void;
}

interface Options {
  readonly WebSocket: new (address: null, protocols: undefined, options: object) => PrivateWebSocket;
}

const OPEN = 1;

function insideOf(webSocket: WebSocket): PrivateWebSocket {
  return webSocket as PrivateWebSocket;
}

export function socketOf(webSocket: WebSocket): Socket | null {
  return insideOf(webSocket)._socket;
}

/**
 * What there is of the next frame, when the connection is between two: between two messages, and with nothing to be sent. null: it is
 * not.
 */
export function partialFrame(webSocket: WebSocket): Uint8Array | null {
  const {
    readyState,
    extensions,
    _socket: socket,
    _receiver: receiver,
    _sender: sender,
  } = insideOf(webSocket);
  if (readyState !== OPEN || extensions !== "" || socket === null || receiver === null || sender === null)
    return null;
  const isBetween =
    receiver._state === 0 &&
    receiver._fragmented === 0 &&
    receiver.writableLength === 0 &&
    sender._queue.length === 0 &&
    sender._bufferedBytes === 0 &&
    socket.writableLength === 0 &&
    !socket.destroyed &&
    !hasEnded(socket);
  return isBetween ? Buffer.concat(receiver._buffers) : null;
}

/** How its "close" event will put it. */
export function markMoved(webSocket: WebSocket, code: number, reason: string): void {
  Object.assign(webSocket, { _closeCode: code, _closeMessage: Buffer.from(reason) });
}

/** A WebSocket of `server` on a connection whose handshake another process has made: completeUpgrade of ws without the answer. */
export function build(
  server: WebSocketServer,
  socket: Socket,
  protocol: string,
  head: Uint8Array,
): WebSocket {
  const options = server.options as Options;
  const webSocket = new options.WebSocket(null, undefined, options);
  Object.assign(webSocket, { _protocol: protocol });
  webSocket.setSocket(socket, head, options);
  server.clients.add(webSocket);
  webSocket.on("close", () => server.clients.delete(webSocket));
  return webSocket;
}

/** null: all is as it must be. */
export async function whyNoWebSocketMoves(server: WebSocketServer): Promise<string | null> {
  const socket = new Socket();
  let webSocket: WebSocket | undefined;
  try {
    if (!(server.clients instanceof Set)) return "the WebSocketServer was made with clientTracking: false";
    const trial = build(server, socket, "", new Uint8Array(0));
    webSocket = trial;
    if (partialFrame(trial)?.length !== 0) return "a new WebSocket of ws does not look idle";
    const heard: string[] = [];
    trial.on("message", (data: Uint8Array) => heard.push(String(data)));
    // One masked frame of one byte, cut in its header, and cut in its end; then a message of two frames, cut between them.
    const look = async (...bytes: readonly number[]): Promise<number | undefined> => {
      socket.emit("data", Buffer.from(bytes));
      await new Promise((resolve) => setImmediate(resolve));
      return partialFrame(trial)?.length;
    };
    const seen = [
      await look(0x81),
      await look(0x81, 0, 0, 0, 0),
      await look(0x61),
      await look(0x01, 0x81, 0, 0, 0, 0, 0x62),
      await look(0x80, 0x81, 0, 0, 0, 0, 0x63),
    ];
    if (heard.join() !== "a,bc") return "ws does not read from the socket that it is given";
    const between = seen.map((length) => length ?? "within").join();
    return between === "1,within,0,within,0"
      ? null
      : `ws does not say whether it is between two frames (${between})`;
  } catch (error) {
    return `ws is another one than is known here: ${String(error)}`;
  } finally {
    if (webSocket !== undefined) server.clients.delete(webSocket);
    socket.destroy();
  }
}
