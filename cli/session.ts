/** What a verb has at hand: the client, and how it speaks. Data goes to stdout, trouble to stderr. */
import type { Client } from "../admin-api/client.ts";
import type { Look } from "./look.ts";

export interface Session {
  readonly client: Client;
  /** The daemon is one of this host: its socket is a path. */
  readonly isLocal: boolean;
  /** Whether stdout carries one JSON document and nothing else. */
  readonly json: boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** How stdout can be written to just now. */
  readonly look: () => Look;
  /** Replaces the lines at the end of the terminal; null with --json and where nothing can be drawn over. */
  readonly draw: ((lines: readonly string[]) => void) | null;
  /** A command line of handoffctl that asks the same daemon as this one. */
  readonly commandLine: (...words: readonly string[]) => string;
  /** A line for people on stdout; nothing with --json. */
  readonly say: (line: string) => void;
  /** A line for people on stderr. */
  readonly warn: (line: string) => void;
  /** The answer: as JSON with --json, as `render` puts it without. */
  readonly show: <T>(data: T, render: (data: T) => string) => void;
  /** One of many answers, a line each. */
  readonly tell: <T>(data: T, render: (data: T) => string) => void;
}

/**
 * Makes a verb's function an action of commander's. It gets a session before commander's own arguments and
 * resolves to the exit code.
 */
export type Run = <A extends readonly unknown[]>(
  act: (session: Session, ...args: A) => Promise<ExitCode>,
) => (...args: A) => Promise<void>;

export type ExitCode = 0 | 1 | 2 | 3 | 4 | 5;
