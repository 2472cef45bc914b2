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
