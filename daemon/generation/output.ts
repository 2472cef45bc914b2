/** Where an instance's standard output and error go. */
import { openSync } from "node:fs";
import { Descriptor } from "../../handoff/descriptor.ts";
import { journalStreamOf, openJournal } from "../../handoff/journal.ts";
import type { OutputConfig } from "../config/config.ts";
import { cannotPrepare } from "../errors.ts";

export interface Output {
  /** null: the daemon's own. */
  readonly descriptor: Descriptor | null;
  /** What a process is told about it. */
  readonly variables: Readonly<Record<string, string>>;
}

/** Where it writes to; the processes hold it themselves, so that the daemon's death changes nothing. A file is appended to. */
export function openOutput(output: OutputConfig, generation: string): Output {
  switch (output.kind) {
    case "inherit":
      return { descriptor: null, variables: {} };
    case "journal": {
      const stream = openJournal(generation.split("/")[0] ?? generation);
      return { descriptor: stream, variables: { JOURNAL_STREAM: journalStreamOf(stream) } };
    }
    case "file":
      try {
        return { descriptor: new Descriptor(openSync(output.path, "a", 0o640)), variables: {} };
      } catch (error) {
        throw cannotPrepare(output.path, "the output file cannot be opened", error);
      }
  }
}
