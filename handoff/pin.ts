/** Pinned connections: made from a slot's reserved source, and looked up on the server's side. */
import { connect, Socket } from "node:net";
import { hasCode } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { timedOut } from "./errors.ts";
import type { ProbeTarget } from "./listener.ts";
import { type DiagSocket, native, TCP } from "./native.ts";

const CLOSED_FIRST = (1 << TCP.FIN_WAIT1) | (1 << TCP.FIN_WAIT2);
const SEEN = (1 << TCP.ESTABLISHED) | (1 << TCP.SYN_RECV) | (1 << TCP.CLOSE_WAIT) | CLOSED_FIRST;

/** Connects to exactly one slot. The socket is the caller's. Throws the connection's error, or HANDOFF_TIMEOUT. */
export async function connectPinned(target: ProbeTarget, deadlineMs: number): Promise<Socket> {
  if (target.kind === "unix") {
    return target.path.startsWith("\0")
      ? connectAbstract(target.path)
      : opened(connect({ path: target.path }), deadlineMs);
  }
  const { host, port, source } = target;
  if (target.sourcePorts.length === 0)
    return opened(connect({ host, port, localAddress: source }), deadlineMs);
  let failure: unknown = null;
  for (const localPort of target.sourcePorts) {
    try {
      return await opened(connect({ host, port, localAddress: source, localPort }), deadlineMs);
    } catch (error) {
      // Another probe has this source port, or had it a moment ago: the next one will do.
      if (!hasCode(error, "EADDRINUSE", "EADDRNOTAVAIL")) throw error;
      failure = error;
    }
  }
  throw failure;
}

/** Node 20 pads an abstract name with NUL bytes, and thereby names another socket; and connect(2) does not wait here. */
function connectAbstract(path: string): Socket {
  const descriptor = new Descriptor(native.socket("unix", "stream", true));
  try {
    native.connect(descriptor.fd, { family: "unix", path });
  } catch (error) {
    descriptor.close();
    throw error;
  }
  return new Socket({ fd: descriptor.take() }).on("error", () => undefined);
}

function opened(socket: Socket, deadlineMs: number): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => {
      socket.destroy();
      reject(timedOut("a pinned connection", deadlineMs));
    }, deadlineMs);
    socket.once("connect", () => {
      clearTimeout(timer);
      socket.removeAllListeners("error");
      // Nobody listens for this connection's end: the server may reset it whenever it likes.
      socket.on("error", () => undefined);
      resolve(socket);
    });
    socket.once("error", (error) => {
      clearTimeout(timer);
      reject(error);
    });
  });
}

/** The server's end of a pinned TCP connection as inet_diag sees it; null while (or once) it has none. */
export function serverSide(client: Socket): DiagSocket | null {
  const { localAddress, localPort, remoteAddress, remotePort } = client;
  if (localAddress === undefined || localPort === undefined) return null;
  if (remoteAddress === undefined || remotePort === undefined) return null;
  const family = client.remoteFamily === "IPv6" ? "inet6" : "inet";
  const found = native.diagConnection(
    { family, host: remoteAddress, port: remotePort },
    { family, host: localAddress, port: localPort },
  );
  return found !== null && (SEEN & (1 << found.state)) !== 0 ? found : null;
}

/** Whether the server's end was closed in good order. Nobody but who has accepted a connection can do that; the kernel resets. */
export function isClosedByServer({ state }: DiagSocket): boolean {
  return (CLOSED_FIRST & (1 << state)) !== 0;
}
