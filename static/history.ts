/** Reads stored messages from the server, page by page, as JSON documents. Feeds and the outbox use it. */
import { type ChannelMessage, type MessageJson, readMessage } from "./channel_message.ts";
import { authorization } from "./token.ts";

/** Messages that a page begins with, and that each further page of history adds. */
export const PAGE_SIZE = 50;

export interface HistoryPage {
  readonly epoch: string;
  /** The newest offset of the channel; 0 for several channels. */
  readonly offset: number;
  /** The id to read on from. */
  readonly next: string;
  /** Whether there is more than this page holds. */
  readonly more: boolean;
  readonly hasGap: boolean;
  readonly messages: readonly ChannelMessage[];
}

interface HistoryJson {
  readonly epoch: string;
  readonly offset?: number;
  readonly next: string;
  readonly more?: boolean;
  readonly gap?: object;
  readonly messages: readonly MessageJson[];
}

/** What the server answered instead, in its own words. */
export class Refusal extends Error {
  readonly status: number;

  constructor(status: number, detail: string) {
    super(detail);
    this.name = "Refusal";
    this.status = status;
  }

  /** Whether credentials would help, or others. */
  get isDenial(): boolean {
    return this.status === 401 || this.status === 403;
  }
}

/**
 * Reads a page: the newest messages, or those after an offset, an id or a time.
 *
 * @throws {Refusal} when the server says no
 */
export async function fetchHistory(
  path: string,
  limit: number,
  since?: string | number,
): Promise<HistoryPage> {
  const query = new URLSearchParams({ limit: String(limit) });
  if (since !== undefined) query.set("since", String(since));
  const response = await fetch(`${path}?${query}`, {
    headers: { accept: "application/json", ...authorization() },
    cache: "no-store",
  });
  if (!response.ok) throw await readRefusal(response);
  const { epoch, offset = 0, next, more = false, gap, messages }: HistoryJson = await response.json();
  return { epoch, offset, next, more, hasGap: gap !== undefined, messages: messages.map(readMessage) };
}

/** The problem document (RFC 9457) of an answer that is none. */
export async function readRefusal(response: Response): Promise<Refusal> {
  const problem = await response.json().catch(() => ({}));
  const detail = typeof problem?.detail === "string"
    ? problem.detail
    : `The server answered ${response.status}`;
  return new Refusal(response.status, detail);
}
