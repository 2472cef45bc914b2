/** Spans of time in words. */

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** The two largest units of what has passed since `since`: `3 d 4 h`, `12 s`. */
export function age(since: string, now: number): string {
  const ms = Math.max(0, now - Date.parse(since));
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  if (ms < DAY) return `${Math.floor(ms / HOUR)} h ${Math.floor((ms % HOUR) / MINUTE)} min`;
  return `${Math.floor(ms / DAY)} d ${Math.floor((ms % DAY) / HOUR)} h`;
}

/** How long something took: `16 ms`, `1.2 s`, `1 min`. */
export function span(ms: number): string {
  if (ms < SECOND) return `${ms} ms`;
  return ms < MINUTE ? `${(ms / SECOND).toFixed(1)} s` : age(new Date(0).toISOString(), ms);
}

/** What a clock that runs down shows: `2 min 5 s`, never less than there is. */
export function left(until: string, now: number): string {
  const ms = Math.ceil(Math.max(0, Date.parse(until) - now) / SECOND) * SECOND;
  if (ms < MINUTE) return `${ms / SECOND} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min ${(ms % MINUTE) / SECOND} s`;
  return age(new Date(0).toISOString(), ms);
}
