/**
 * Closing what a program has sent, or what may hold that. Whoever closes a socket last waits for it where it lingers (SO_LINGER,
 * socket(7)), for as long as its owner has said; a unix socket ends with all that waits in it; and a file system in user space (FUSE)
 * answers when it likes. In the event loop any of them would stop the daemon. So each is closed by a thread of its own: one that waits
 * keeps none of the others open, and none of them is left for an exec to close.
 */
import { Descriptor } from "./descriptor.ts";
import { native } from "./native.ts";

/** Consumes them. Returns at once, and resolves when all are closed: who may send more has to wait for that. Never rejects. */
export async function closeForeign(descriptors: readonly Descriptor[]): Promise<void> {
  const open = descriptors.filter((descriptor) => descriptor.open);
  if (open.length === 0) return;
  let pipe: readonly Descriptor[] = [];
  try {
    pipe = native.pipe().map((fd) => new Descriptor(fd));
  } catch {
    // At its RLIMIT_NOFILE: they are closed all the same, and nobody waits.
  }
  const [reader, writer] = pipe;
  for (const descriptor of open) {
    let done = -1;
    try {
      if (writer !== undefined) done = native.duplicate(writer.fd);
    } catch {
      // As above.
    }
    native.closeAside(descriptor.take(), done);
  }
  writer?.close();
  if (reader !== undefined) await ended(reader);
}

/** Resolves when nobody has the other end any more. Keeps no process alive. */
async function ended(reader: Descriptor): Promise<void> {
  using own = reader;
  await new Promise<void>((resolve) => {
    const poll = new native.Poll(own.fd, () => {
      poll.close();
      resolve();
    });
    poll.start();
    poll.unref();
  });
}
