/**
 * The deploys that are remembered and those of the history as one list, the newest first: by the instant at which they were
 * accepted. A page begins after a cursor that says an instant itself, so that it means the same whatever ends, is forgotten or is
 * written down between two pages.
 */
import { deployUnknown } from "../../admin-api/errors.ts";
import type { Deploy, DeployList } from "../../admin-api/schemas.ts";
import type { HistoryEntry } from "./history-file.ts";

interface Sources {
  readonly remembered: readonly Deploy[];
  /** The newest first, from the newest each time that it is called. */
  readonly history: () => AsyncIterable<HistoryEntry>;
}

export interface PageQuery {
  readonly service: string | null;
  readonly limit: number;
  readonly before: string | null;
}

/** Throws DEPLOY_UNKNOWN for a cursor that is none. */
export async function pageOfDeploys(sources: Sources, query: PageQuery): Promise<DeployList> {
  const { service, limit, before } = query;
  const cursor = before === null ? null : await cursorOf(sources, before);
  const seen = new Set<string>();
  // One more than the page has: then there is a next one.
  const page: Deploy[] = [];
  const take = (deploy: Deploy): void => {
    if (service !== null && deploy.service !== service) return;
    // Twice in the file after a crash, or remembered as well. A state directory that was emptied begins at 1 again.
    const key = `${deploy.startedAt} ${deploy.id}`;
    if (seen.has(key)) return;
    seen.add(key);
    if (cursor !== null && !isOlder(deploy, cursor)) return;
    const at = page.findIndex((other) => isOlder(other, deploy));
    page.splice(at < 0 ? page.length : at, 0, deploy);
    page.length = Math.min(page.length, limit + 1);
  };
  for (const deploy of sources.remembered) take(deploy);
  for await (const entry of sources.history()) {
    // Entries stand in the order in which deploys ended, and none began after it had ended.
    const last = page[limit];
    if (last !== undefined && entry.at < last.startedAt) break;
    const deploy = deployIn(entry);
    if (deploy !== null) take(deploy);
  }
  const shown = page.slice(0, limit);
  const last = shown.at(-1);
  const isMore = page.length > limit && last !== undefined;
  return { deploys: shown, next: isMore ? `${last.id}@${Date.parse(last.startedAt)}` : null };
}

/** The newest deploy of this id. Throws DEPLOY_UNKNOWN. */
export async function findDeploy({ remembered, history }: Sources, id: string): Promise<Deploy> {
  const found = remembered.find((deploy) => deploy.id === id);
  if (found !== undefined) return found;
  for await (const entry of history()) {
    const deploy = entry.id === id ? deployIn(entry) : null;
    if (deploy !== null) return deploy;
  }
  throw deployUnknown(id);
}

interface Cursor {
  readonly id: string;
  readonly startedAt: string;
}

/** A page's `next`, or simply the id of a deploy. */
async function cursorOf(sources: Sources, before: string): Promise<Cursor> {
  const [, id, ms] = /^(.+)@(\d{1,15})$/u.exec(before) ?? [];
  if (id === undefined || ms === undefined) return findDeploy(sources, before);
  return { id, startedAt: new Date(Number(ms)).toISOString() };
}

/** RFC 3339 in UTC, always with milliseconds: in order as text. */
function isOlder(one: Cursor, other: Cursor): boolean {
  return one.startedAt === other.startedAt ? one.id < other.id : one.startedAt < other.startedAt;
}

function deployIn({ type, deploy }: HistoryEntry): Deploy | null {
  if (type !== "deploy" || typeof deploy !== "object" || deploy === null) return null;
  const { id, service, startedAt } = deploy as Partial<Deploy>;
  const isOne = [id, service, startedAt].every((value) => typeof value === "string");
  // Written by this program as the API shows it; of later versions more fields, never other ones.
  return isOne ? (deploy as Deploy) : null;
}
