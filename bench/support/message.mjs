/** What an error says, in one line. */
export function messageOf(error) {
  return (error instanceof Error ? error.message : String(error)).split("\n")[0];
}
