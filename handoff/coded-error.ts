/**
 * An expected failure. `code` is stable and is what programs match on; the message is for people and says
 * what happened, to what, and the way out. `cause` is the error below, when there is one.
 */
export class CodedError extends Error {
  readonly code: string;
  readonly details: Readonly<Record<string, unknown>>;

  constructor(
    code: string,
    message: string,
    options: { readonly cause?: unknown; readonly details?: Readonly<Record<string, unknown>> } = {},
  ) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = "CodedError";
    this.code = code;
    this.details = options.details ?? {};
  }
}

/** Whether `error` is ours and has this code. Two copies of the module may be loaded, so not `instanceof`. */
export function hasCode(error: unknown, ...codes: readonly string[]): error is Error & { code: string } {
  return (
    error instanceof Error && "code" in error && typeof error.code === "string" && codes.includes(error.code)
  );
}

/** The sentence of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
