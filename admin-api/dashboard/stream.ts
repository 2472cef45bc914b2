/** Reads `text/event-stream` as the standard has it, out of a body that `fetch` gives: EventSource cannot send a token. */

export interface Message {
  readonly event: string;
  readonly data: string;
}

/** Ends when the stream does; throws what the connection failed with. `alive` is called for whatever comes, comments too. */
export async function* readStream(
  body: ReadableStream<Uint8Array>,
  alive: () => void,
): AsyncGenerator<Message> {
  const reader = body.getReader();
  const decoder = new TextDecoder();
  let text = "";
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      alive();
      text += decoder.decode(value, { stream: true });
      const blocks = text.split("\n\n");
      text = blocks.pop() ?? "";
      for (const block of blocks) {
        const message = parse(block);
        if (message !== null) yield message;
      }
    }
  } finally {
    // A failure of its own is that of a connection which nobody reads any more.
    await reader.cancel().catch(() => undefined);
  }
}

/** null for a block without data: a comment, a `retry:`. */
function parse(block: string): Message | null {
  let event = "message";
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const [, field, value = ""] = /^([^:]*):? ?(.*)$/u.exec(line) ?? [];
    if (field === "event") event = value;
    else if (field === "data") data.push(value);
  }
  return data.length === 0 ? null : { event, data: data.join("\n") };
}
