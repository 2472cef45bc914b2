/** What callers may do. Each role may do all that the one before it may. Pure. */

/** read: look · deploy: change services · admin: change the daemon. */
export type Role = "read" | "deploy" | "admin";

/** Whose role it is, by SO_PEERCRED. */
export interface RoleGrant {
  readonly role: Role;
  readonly to: "user" | "group";
  /** The uid or the gid. */
  readonly id: number;
}

const RANK: Readonly<Record<Role, number>> = { read: 1, deploy: 2, admin: 3 };

export function isRole(text: string): text is Role {
  return Object.hasOwn(RANK, text);
}

/** null is someone who is known and may do nothing. */
export function allows(held: Role | null, needed: Role): boolean {
  return held !== null && RANK[held] >= RANK[needed];
}

/** The widest role that is granted to a user or to one of the groups; null: none is. */
export function grantedTo(
  grants: readonly RoleGrant[],
  uid: number,
  groups: ReadonlySet<number>,
): Role | null {
  const held = grants.filter(({ to, id }) => (to === "user" ? id === uid : groups.has(id)));
  return held.reduce<Role | null>((best, { role }) => (allows(best, role) ? best : role), null);
}
