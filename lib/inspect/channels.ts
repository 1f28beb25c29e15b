/** The inspector's table of channels: one page, filtered and sorted, computed without blocking the hub. */
import { sortInSlices } from "../base/sliced.ts";
import { SliceClock } from "../base/slices.ts";
import { selectChannel } from "../core/channel.ts";
import type { Hub } from "../core/hub.ts";
import type { Log } from "../core/log.ts";
import { type Message, payloadSize } from "../core/message.ts";
import type { Traffic } from "../core/metrics/traffic.ts";

export const CHANNEL_ORDERS = ["channel", "subscribers", "rate", "stored"] as const;

export interface ChannelQuery {
  /** A part of the name, in lower case. */
  readonly filter: string;
  readonly sort: typeof CHANNEL_ORDERS[number];
  readonly descending: boolean;
  readonly offset: number;
  readonly limit: number;
}

export interface ChannelRow {
  readonly channel: string;
  /** Subscribers by exact name, on all nodes. */
  readonly subscribers: number;
  /** Messages per second through this node. */
  readonly rate: number;
  /** Stored messages; undefined if the log does not count them. */
  readonly stored: number | undefined;
  readonly last?: ShownMessage | undefined;
}

export interface ChannelPage {
  readonly rows: readonly ChannelRow[];
  /** The number of channels that match the filter. */
  readonly total: number;
}

/** A message as the inspector shows it, truncated if it is large. */
export interface ShownMessage {
  readonly time: number;
  /** 0 for a transient message. */
  readonly offset: number;
  readonly event: string | undefined;
  readonly from: string | undefined;
  readonly kind: "text" | "json" | "bytes";
  readonly text: string;
  /** Bytes of the whole payload. */
  readonly size: number;
}

/** The sources of the table. */
export interface ChannelSources {
  readonly hub: Hub;
  readonly log: Log;
  readonly traffic: Traffic;
}

/** Rows collected beyond the page before they are sorted and truncated. */
const SPARE_ROWS = 1_000;
const SHOWN_CHARACTERS = 1_000;

export async function listChannels(sources: ChannelSources, query: ChannelQuery): Promise<ChannelPage> {
  const { filter, offset, limit } = query;
  const wanted = offset + limit;
  const compare = comparison(query);
  let found: ChannelRow[] = [];
  let total = 0;
  const slice = new SliceClock();
  for (const row of listRows(sources)) {
    if (slice.isOver) await slice.next();
    if (filter !== "" && !row.channel.toLowerCase().includes(filter)) continue;
    total++;
    if (found.push(row) < wanted * 2 + SPARE_ROWS) continue;
    found = (await sortInSlices(found, compare)).slice(0, wanted);
  }
  const rows = (await sortInSlices(found, compare)).slice(offset, wanted);
  return { total, rows: await Promise.all(rows.map((row) => addLast(sources, row))) };
}

/** The newest message of a channel: the last live one while traffic is measured, else the newest stored one. */
export async function findLast(
  { hub, traffic }: ChannelSources,
  channel: string,
): Promise<ShownMessage | undefined> {
  const message = traffic.last(channel) ?? (await readNewest(hub, channel, 1)).at(-1);
  return message === undefined ? undefined : showMessage(message);
}

/** The newest stored messages of a channel, oldest first. */
export async function readNewest(hub: Hub, channel: string, limit: number): Promise<readonly Message[]> {
  return (await hub.read({ selector: selectChannel(channel), after: { kind: "latest" }, limit })).messages;
}

export function showMessage({ time, offset, event, from, payload }: Message): ShownMessage {
  const text = payload.kind === "bytes" ? "" : payload.text;
  return {
    time,
    offset,
    event,
    from: from?.name ?? from?.user ?? from?.id,
    kind: payload.kind,
    text: text.length > SHOWN_CHARACTERS ? `${text.slice(0, SHOWN_CHARACTERS - 1).toWellFormed()}…` : text,
    size: payloadSize(payload),
  };
}

/** Every channel with subscribers, stored messages or recent traffic, without repeats. */
function* listRows({ hub, log, traffic }: ChannelSources): Iterable<ChannelRow> {
  const listed = new Set<string>();
  for (const { channel, subscribers } of hub.listChannels()) {
    listed.add(channel);
    const stored = log.findStored?.(channel)?.stored ?? (log.findStored === undefined ? undefined : 0);
    yield { channel, subscribers, rate: traffic.rate(channel), stored };
  }
  for (const { channel, stored } of log.listStored?.() ?? []) {
    if (!listed.has(channel)) yield { channel, subscribers: 0, rate: traffic.rate(channel), stored };
  }
  for (const channel of traffic.list()) {
    if (listed.has(channel) || log.findStored?.(channel) !== undefined) continue;
    yield {
      channel,
      subscribers: 0,
      rate: traffic.rate(channel),
      stored: log.findStored === undefined ? undefined : 0,
    };
  }
}

async function addLast(sources: ChannelSources, row: ChannelRow): Promise<ChannelRow> {
  return { ...row, last: await findLast(sources, row.channel) };
}

/** By the chosen column, and by name among equals. */
function comparison({ sort, descending }: ChannelQuery): (a: ChannelRow, b: ChannelRow) => number {
  const sign = descending ? -1 : 1;
  const byName = (a: ChannelRow, b: ChannelRow) => a.channel < b.channel ? -1 : a.channel > b.channel ? 1 : 0;
  if (sort === "channel") return (a, b) => sign * byName(a, b);
  return (a, b) => sign * ((a[sort] ?? 0) - (b[sort] ?? 0)) || byName(a, b);
}
