/** Reads stored messages from the server, page by page, as JSON documents. Feeds and the outbox use it. */
import { type ChannelMessage, type MessageJson, readMessage } from "./channel_message.ts";
import { authorization } from "./token.ts";

/** Messages that a page begins with. */
export const PAGE_SIZE = 50;
/** Messages that each further page of history adds: enough that scrolling goes on. */
export const FURTHER_SIZE = 200;
/** Most messages of one document. */
export const MAX_PAGE_SIZE = 1_000;

export interface HistoryPage {
  readonly epoch: string;
  /** The newest offset of the channel; 0 for several channels. */
  readonly offset: number;
  /** The id to read on from. */
  readonly next: string;
  /** Whether there is more than this page holds. */
  readonly more: boolean;
  readonly hasGap: boolean;
  /** The offset to go on before, where a page of those before an offset was asked for. */
  readonly before: number | undefined;
  readonly messages: readonly ChannelMessage[];
}

interface HistoryJson {
  readonly epoch: string;
  readonly offset?: number;
  readonly next: string;
  readonly more?: boolean;
  readonly gap?: object;
  readonly before?: number;
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
  return await fetchPage(path, { limit, ...(since === undefined ? {} : { since }) });
}

/**
 * Reads a page by the parameters of the server's documents: `since` or `before`, `limit`, `q`, `event`, `from`.
 *
 * @throws {Refusal} when the server says no
 */
export async function fetchPage(
  path: string,
  parameters: Readonly<Record<string, string | number>>,
): Promise<HistoryPage> {
  const query = new URLSearchParams(
    Object.entries(parameters).map(([name, value]) => [name, String(value)] as [string, string]),
  );
  const response = await fetch(`${path}?${query}`, {
    headers: { accept: "application/json", ...authorization() },
    cache: "no-store",
  });
  if (!response.ok) throw await readRefusal(response);
  const { epoch, offset = 0, next, more = false, gap, before, messages }: HistoryJson = await response.json();
  const hasGap = gap !== undefined;
  return { epoch, offset, next, more, hasGap, before, messages: messages.map(readMessage) };
}

/**
 * Reads one stored message as the server has it: by its id, or by its offset where that is not known.
 *
 * @returns undefined for one that is not kept any more
 * @throws {Refusal} when the server says no
 */
export async function fetchRaw(
  path: string,
  { epoch, sequence, offset }: ChannelMessage,
): Promise<MessageJson | undefined> {
  const since = sequence > 0 ? `${epoch}-${sequence - 1}` : String(offset - 1);
  const response = await fetch(`${path}?${new URLSearchParams({ since, limit: "1" })}`, {
    headers: { accept: "application/json", ...authorization() },
    cache: "no-store",
  });
  if (!response.ok) throw await readRefusal(response);
  const { messages: [first] }: HistoryJson = await response.json();
  const isIt = sequence > 0 ? first?.id === `${epoch}-${sequence}` : first?.offset === offset;
  return isIt && first?.id?.startsWith(`${epoch}-`) ? first : undefined;
}

/** The problem document (RFC 9457) of an answer that is none. */
export async function readRefusal(response: Response): Promise<Refusal> {
  const problem = await response.json().catch(() => ({}));
  const detail = typeof problem?.detail === "string"
    ? problem.detail
    : `The server answered ${response.status}`;
  return new Refusal(response.status, detail);
}
