import { mkdtempSync, readSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { expect, it, onTestFinished } from "vitest";
import { Descriptor } from "../../handoff/descriptor.ts";
import { openJournal } from "../../handoff/journal.ts";
import { native } from "../../handoff/native.ts";
import { expectTableUnchanged } from "./native-support.ts";

expectTableUnchanged();

function folder(): string {
  const path = mkdtempSync(`${tmpdir()}/journal-`);
  onTestFinished(() => rmSync(path, { recursive: true }));
  return path;
}

it("a stream to the journal says whose it is before its first line, and waits like a terminal when it is full", () => {
  const path = `${folder()}/stdout`;
  using listener = new Descriptor(native.socket("unix", "stream", true));
  native.bind(listener.fd, { family: "unix", path });
  native.listen(listener.fd, 1);
  using stream = openJournal("api", path);
  writeSync(stream.fd, "hello\n");
  const accepted = native.accept(listener.fd);
  if (accepted === null) throw new Error("nobody has connected");
  using journald = new Descriptor(accepted);
  const buffer = Buffer.alloc(256);
  const length = readSync(journald.fd, buffer);
  expect(buffer.toString("utf8", 0, length)).toBe("api\n\n6\n1\n0\n0\n0\nhello\n");
  expect(native.isNonblocking(stream.fd)).toBe(false);
});

it("without a journald the error says where it should be, and what to use instead", () => {
  expect(() => openJournal("api", `${folder()}/stdout`)).toThrow(
    /stdout: no journald listens there; use output: inherit/u,
  );
});
