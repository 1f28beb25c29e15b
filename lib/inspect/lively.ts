/**
 * Where something happens: the busiest channels, and those with the newest messages. The home page shows them to
 * operators.
 */
import type { Pass } from "../auth/pass.ts";
import { LOBBY, type Selector } from "../core/channel.ts";
import { type ChannelSources, listChannels } from "./channels.ts";

export interface Lively {
  readonly busy: readonly { readonly channel: string; readonly rate: number; readonly subscribers: number }[];
  readonly recent: readonly { readonly channel: string; readonly time: number }[];
}

const SHOWN = 6;
/** Channels that are looked at, as some are left out. */
const SPARE = 20;
/** Messages that are looked at for the channels of the newest. */
const NEWEST = 200;
/** Where cursors of pages move, which is no news. */
const CURSORS = "cursors/";

/** @param everything all channels that may be shown */
export async function findLively(sources: ChannelSources, pass: Pass, everything: Selector): Promise<Lively> {
  const isShown = (channel: string) =>
    channel !== LOBBY && !channel.startsWith(CURSORS) && pass.may("subscribe", channel);
  const query = { filter: "", descending: true, offset: 0, limit: SPARE } as const;
  const [byRate, bySubscribers, newest] = await Promise.all([
    listChannels(sources, { ...query, sort: "rate" }),
    listChannels(sources, { ...query, sort: "subscribers" }),
    sources.hub.read({ selector: everything, after: { kind: "latest" }, limit: NEWEST }),
  ]);
  const busy = new Map(
    [
      ...byRate.rows.filter(({ rate }) => rate > 0),
      ...bySubscribers.rows.filter(({ subscribers }) => subscribers > 0),
    ]
      .filter(({ channel }) => isShown(channel))
      .map(({ channel, rate, subscribers }) => [channel, { channel, rate, subscribers }]),
  );
  // The newest message of each, as later ones take the place of earlier ones.
  const recent = new Map<string, number>();
  for (const { channel, time } of newest.messages) {
    if (!isShown(channel)) continue;
    recent.delete(channel);
    recent.set(channel, time);
  }
  return {
    busy: [...busy.values()].slice(0, SHOWN),
    recent: [...recent].reverse().slice(0, SHOWN).map(([channel, time]) => ({ channel, time })),
  };
}
