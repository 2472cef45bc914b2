import { constants } from "node:os";

const names = new Map(Object.entries(constants.errno).map(([name, number]) => [number, name]));

/** The name of an errno number, such as "ENOENT"; its digits when it has none. */
export function errnoName(errno: number): string {
  return names.get(errno) ?? `errno ${errno}`;
}
