/** `{name}` in a text of the configuration, which is filled in when the text is used. */

/** Braces around anything but a bare word are PromQL's own, as in `{job="api"}`. */
const PLACEHOLDER = /\{([A-Za-z_]+)\}/gu;

const QUERY_PLACEHOLDERS = ["version", "generation", "service"] as const;

/** What a query of an analysis is about. */
export interface QuerySubject {
  readonly service: string;
  /** null: the service has no versions. Then the query cannot contain `{version}`. */
  readonly version: string | null;
  readonly generation: number;
}

/** Behind a dollar they are a shell's own. */
const COMMAND_PLACEHOLDER = /(?<!\$)\{([A-Za-z_]+)\}/gu;
const COMMAND_PLACEHOLDERS = ["service", "version", "generation", "instance"] as const;

/** One instance, for a command that asks for it. */
export interface CommandSubject extends QuerySubject {
  readonly instance: number;
}

/** Those of a command's arguments that nothing fills in, with their braces. */
export function unknownInCommand(command: readonly string[]): string[] {
  const known: readonly string[] = COMMAND_PLACEHOLDERS;
  return command
    .flatMap((argument) => [...argument.matchAll(COMMAND_PLACEHOLDER)])
    .filter(([, name = ""]) => !known.includes(name))
    .map(([text]) => text);
}

/** The command about one instance. Each argument stays one: no shell reads it. */
export function fillCommand(
  command: readonly string[],
  { service, version, generation, instance }: CommandSubject,
): string[] {
  const values = {
    service,
    version: version ?? "",
    generation: String(generation),
    instance: String(instance),
  };
  return command.map((argument) =>
    argument.replace(COMMAND_PLACEHOLDER, (text, name: string) =>
      Object.hasOwn(values, name) ? values[name as keyof typeof values] : text,
    ),
  );
}

/** Those of a query that nothing fills in, with their braces. */
export function unknownPlaceholders(query: string): string[] {
  const known: readonly string[] = QUERY_PLACEHOLDERS;
  return [...query.matchAll(PLACEHOLDER)]
    .filter(([, name = ""]) => !known.includes(name))
    .map(([text]) => text);
}

/** The query about one candidate. Names and versions need no escaping in PromQL: their patterns have no quotes. */
export function fillQuery(query: string, { service, version, generation }: QuerySubject): string {
  const values = { service, version: version ?? "", generation: String(generation) };
  return query.replace(PLACEHOLDER, (text, name: string) =>
    Object.hasOwn(values, name) ? values[name as keyof typeof values] : text,
  );
}
