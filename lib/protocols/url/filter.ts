/** Which stored messages a reader asks for by `?q=`, `?event=` and `?from=`. Documents and exports choose by it. */
import { type Message, showPayload } from "../../core/message.ts";

/** What a message has to be; what is left out does not matter. */
export interface MessageFilter {
  /** In its text, in any case of letters. Bytes have no text. */
  readonly text?: string;
  /** Its event, exactly. */
  readonly event?: string;
  /** The name, id or user of its sender, exactly. */
  readonly from?: string;
}

/** Longest text to look for, in characters. */
const MAX_TEXT_LENGTH = 200;

/**
 * Reads a filter from query parameters.
 *
 * @returns undefined when nothing is asked for
 * @throws {SyntaxError} saying what is allowed
 */
export function parseFilter(query: ReadonlyMap<string, string>): MessageFilter | undefined {
  const filter: { -readonly [K in keyof MessageFilter]: MessageFilter[K] } = {};
  const [text, event, from] = ["q", "event", "from"].map((name) => query.get(name));
  if (text) {
    if (text.length > MAX_TEXT_LENGTH) {
      throw new SyntaxError(`q must have at most ${MAX_TEXT_LENGTH} characters`);
    }
    filter.text = fold(text);
  }
  if (event) filter.event = event;
  if (from) filter.from = from;
  return Object.keys(filter).length === 0 ? undefined : filter;
}

/** Whether a message is asked for. */
export function matchesFilter({ payload, event, from }: Message, filter: MessageFilter): boolean {
  if (filter.event !== undefined && event !== filter.event) return false;
  if (filter.from !== undefined && ![from?.id, from?.name, from?.user].includes(filter.from)) return false;
  if (filter.text === undefined) return true;
  return payload.kind !== "bytes" && fold(showPayload(payload)).includes(filter.text);
}

/** Composed letters, in lower case: what looks the same is found. */
function fold(text: string): string {
  return text.normalize("NFC").toLowerCase();
}
