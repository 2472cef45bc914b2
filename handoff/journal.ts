/**
 * A stream to systemd's journal, as systemd itself gives one to its services (sd_journal_stream_fd(3), src/journal/journald-stream.c): a
 * connection to a socket of journald, a header of seven lines, then plain lines of text. journald keeps its end over its own
 * restarts. Each line gets the pid of whoever wrote it.
 */
import { fstatSync, writeSync } from "node:fs";
import { hasCode, messageOf } from "./coded-error.ts";
import { Descriptor } from "./descriptor.ts";
import { journalUnreachable } from "./errors.ts";
import { native } from "./native.ts";

const SOCKET = "/run/systemd/journal/stdout";
/** LOG_INFO of syslog(3), as systemd's SyslogLevel= has it. */
const INFO = 6;

/**
 * Opens one, for both standard output and standard error. A line that begins with "<3>" has that priority (sd-daemon(3)).
 * `identifier`: what `journalctl -t` finds it by. The descriptor is the caller's. Throws JOURNAL_UNREACHABLE.
 */
export function openJournal(identifier: string, socket = SOCKET): Descriptor {
  const stream = new Descriptor(native.socket("unix", "stream", true));
  try {
    if (!native.connect(stream.fd, { family: "unix", path: socket })) throw new Error("its queue is full");
    native.shutdown(stream.fd, "read");
    // Identifier, unit (journald knows it by the control group), priority, whether "<N>" is read, and three times: not forwarded.
    writeSync(stream.fd, `${identifier}\n\n${INFO}\n1\n0\n0\n0\n`);
    // It becomes somebody's standard output, who expects to wait when it is full.
    native.setNonblocking(stream.fd, false);
    return stream;
  } catch (error) {
    stream.close();
    const why = hasCode(error, "ENOENT", "ECONNREFUSED") ? "no journald listens there" : messageOf(error);
    throw journalUnreachable(socket, why, error);
  }
}

/** JOURNAL_STREAM of systemd.exec(5): by it a program knows that its standard error is the journal. */
export function journalStreamOf(stream: Descriptor): string {
  const { dev, ino } = fstatSync(stream.fd);
  return `${dev}:${ino}`;
}
