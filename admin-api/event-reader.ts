/** Reads `text/event-stream` as the standard has it: fields by line, a blank line ends a message. */
import type { IncomingMessage } from "node:http";

export interface ReceivedMessage {
  readonly event: string;
  /** null when the message had none. */
  readonly id: number | null;
  readonly data: string;
}

/** Ends when the stream does; throws what the connection failed with. Bounded: a longer message is an error. */
export async function* readEvents(
  response: IncomingMessage,
  limit = 4 * 1024 * 1024,
): AsyncGenerator<ReceivedMessage> {
  response.setEncoding("utf8");
  let text = "";
  for await (const chunk of response) {
    text += chunk as string;
    let end: number;
    while ((end = text.indexOf("\n\n")) >= 0) {
      const message = parse(text.slice(0, end));
      text = text.slice(end + 2);
      if (message !== null) yield message;
    }
    if (text.length > limit) throw new Error(`an event is longer than ${limit} characters`);
  }
}

/** null for a block without data: a comment, a `retry:`. */
function parse(block: string): ReceivedMessage | null {
  let event = "message";
  let id: number | null = null;
  const data: string[] = [];
  for (const line of block.split("\n")) {
    const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line) ?? [];
    if (field === "event") event = value ?? "";
    else if (field === "id") id = Number(value);
    else if (field === "data") data.push(value ?? "");
  }
  return data.length === 0 ? null : { event, id, data: data.join("\n") };
}
