import { homedir } from "node:os";
import { join } from "node:path";

/** Where tests keep what they have built or fetched once per machine, outside of the checkout. */
export const cache = join(process.env["XDG_CACHE_HOME"] ?? join(homedir(), ".cache"), "handoffd-tests");
