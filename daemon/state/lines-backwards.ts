/** The lines of a file from its end, read in pieces. */
import { open } from "node:fs/promises";
import { hasCode } from "../../handoff/coded-error.ts";

const PIECE = 64 * 1024;
/** A longer line is none of ours, and is not held in memory. */
const LONGEST = 1024 * 1024;
const NEWLINE = 0x0a;

/** Without the newlines. Nothing when there is no such file. What is appended meanwhile is not seen. */
export async function* linesBackwards(path: string): AsyncGenerator<Buffer> {
  let file;
  try {
    file = await open(path, "r");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return;
    throw error;
  }
  try {
    let at = (await file.stat()).size;
    // What was read of the line whose beginning was not found yet; null when it is too long.
    let open: Buffer | null = Buffer.alloc(0);
    while (at > 0) {
      const length = Math.min(PIECE, at);
      at -= length;
      const { buffer, bytesRead } = await file.read(Buffer.alloc(length), 0, length, at);
      const piece: Buffer = buffer.subarray(0, bytesRead);
      const first = piece.indexOf(NEWLINE);
      if (first < 0) {
        open = open === null || open.length > LONGEST ? null : Buffer.concat([piece, open]);
        continue;
      }
      let end = piece.lastIndexOf(NEWLINE);
      if (open !== null) yield Buffer.concat([piece.subarray(end + 1), open]);
      while (end > first) {
        const start: number = piece.lastIndexOf(NEWLINE, end - 1);
        yield piece.subarray(start + 1, end);
        end = start;
      }
      open = piece.subarray(0, first);
    }
    if (open !== null && open.length > 0) yield open;
  } finally {
    await file.close();
  }
}
