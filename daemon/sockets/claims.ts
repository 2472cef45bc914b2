/** Which service's record tells of a listener. */
import type { Config } from "../config/config.ts";
import type { ServiceRecord } from "../state/snapshot.ts";

/**
 * What is written down of the service whose generations have the listener, whatever the configuration says by now; else of the one
 * that is to have it. The returned function looks nothing through: it is asked for every listener.
 */
export function claimsOf(
  { services }: Pick<Config, "services">,
  records: ReadonlyMap<string, ServiceRecord | null>,
): (listener: string) => ServiceRecord | null {
  const owners = new Map<string, string>();
  for (const { name, listeners } of services)
    for (const each of listeners) if (!owners.has(each)) owners.set(each, name);
  const users = new Map<string, ServiceRecord[]>();
  for (const record of records.values()) {
    const used = new Set(record?.generations.flatMap(({ slots }) => Object.keys(slots)));
    for (const each of used) if (record !== null) users.set(each, [...(users.get(each) ?? []), record]);
  }
  return (listener) => {
    const own = owners.get(listener);
    const found = users.get(listener) ?? [];
    return found.find(({ service }) => service === own) ?? found[0] ?? records.get(own ?? "") ?? null;
  };
}
