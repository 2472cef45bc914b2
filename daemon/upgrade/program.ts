/**
 * The program that this process runs, as it was said when it was started: so that it can be run again. What the words lead to is
 * looked up anew each time, since an operator moves a symlink in order to upgrade. Nothing of it comes from the API.
 */
import { accessSync, constants } from "node:fs";
import { delimiter, resolve } from "node:path";

export interface Program {
  /** Absolute. */
  readonly file: string;
  readonly argv: readonly string[];
}

export class StartedProgram {
  readonly #directory = process.cwd();
  readonly #node = process.argv0;
  readonly #words: readonly string[];
  readonly #script: string;
  readonly #arguments: readonly string[];

  /** As node:process has it. The script's path is absolute there, with its symlinks as they were given. */
  constructor({ execArgv, argv }: Pick<NodeJS.Process, "execArgv" | "argv"> = process) {
    this.#words = execArgv;
    this.#script = argv[1] ?? "";
    this.#arguments = argv.slice(2);
  }

  /** `inserted` are further arguments, after the first, which is the verb. */
  resolve(inserted: readonly string[] = []): Program {
    const [verb, ...rest] = this.#arguments;
    const words = verb === undefined ? [] : [verb, ...inserted, ...rest];
    return { file: this.#interpreter(), argv: [this.#node, ...this.#words, this.#script, ...words] };
  }

  /** Where argv[0] leads to by now, as a shell or env(1) would look it up; else the very file that runs. */
  #interpreter(): string {
    const candidates = this.#node.includes("/")
      ? [resolve(this.#directory, this.#node)]
      : (process.env["PATH"] ?? "").split(delimiter).map((folder) => resolve(folder, this.#node));
    return candidates.find((file) => isExecutable(file)) ?? process.execPath;
  }
}

function isExecutable(file: string): boolean {
  try {
    accessSync(file, constants.X_OK);
    return true;
  } catch {
    return false;
  }
}
