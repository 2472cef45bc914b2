/** The end of a file that somebody writes to. */
import { closeSync, fstatSync, openSync, readSync } from "node:fs";
import { hasCode } from "../../handoff/coded-error.ts";

/** An application may write gigabytes: its end is looked at. */
const END_BYTES = 64 * 1024;

/** The last `count` lines that are not empty; none when the file is not there. */
export function lastLines(file: string, count: number): readonly string[] {
  let fd: number;
  try {
    fd = openSync(file, "r");
  } catch (error) {
    if (hasCode(error, "ENOENT")) return [];
    throw error;
  }
  try {
    const { size } = fstatSync(fd);
    const buffer = Buffer.alloc(Math.min(size, END_BYTES));
    const length = readSync(fd, buffer, 0, buffer.length, size - buffer.length);
    const lines = buffer.toString("utf8", 0, length).split("\n");
    return lines.filter((line) => line.trim() !== "").slice(-count);
  } finally {
    closeSync(fd);
  }
}
