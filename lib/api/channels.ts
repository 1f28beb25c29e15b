/** The method `channels` of the HTTP API. Unlike Centrifugo's, it can list channels page by page. */
import { encodeInSlices, sortInSlices } from "../base/sliced.ts";
import { SliceClock } from "../base/slices.ts";
import type { ApiContext } from "./context.ts";
import { ApiError } from "./error.ts";
import type { Fields } from "./fields.ts";
import { compileGlob } from "./glob.ts";

/** Names collected beyond the page before they are sorted and truncated. */
const SPARE_NAMES = 1_000;

interface Channel {
  readonly channel: string;
  readonly subscribers: number;
}

/**
 * Lists the channels with subscribers by exact name, sorted, with the number of these. `pattern` filters by glob. With
 * `limit`, lists at most that many and, if there are more, `next`: the `cursor` of the next page.
 */
export async function channels({ hub }: ApiContext, fields: Fields): Promise<string> {
  const pattern = fields.string("pattern");
  const limit = fields.integer("limit", 1, 2 ** 31 - 1) || Infinity;
  const cursor = fields.string("cursor");
  const matches = pattern === "" ? () => true : compileOrThrow(pattern);
  const wanted = hub.listChannels();
  const { page, more } = await takeFirst(
    wanted,
    limit,
    ({ channel }) => channel > cursor && matches(channel),
  );
  // Not JSON.stringify: an object would put names that look like integers first.
  const entries = await encodeInSlices(
    page,
    ({ channel, subscribers }) => `${JSON.stringify(channel)}:{"num_clients":${subscribers}}`,
  );
  const next = more ? `,"next":${JSON.stringify(page.at(-1)?.channel)}` : "";
  return `{"channels":{${entries.join(",")}}${next}}`;
}

/**
 * The first wanted channels by name, in slices. Keeps and sorts little more than one page, so that a page costs one pass
 * over all channels.
 */
async function takeFirst(
  channels: Iterable<Channel>,
  limit: number,
  isWanted: (channel: Channel) => boolean,
): Promise<{ readonly page: readonly Channel[]; readonly more: boolean }> {
  const bound = limit + Math.max(limit, SPARE_NAMES);
  const clock = new SliceClock();
  let found: Channel[] = [];
  let last: string | undefined;
  let more = false;
  const cut = async () => {
    const sorted = await sortInSlices(
      found,
      (a, b) => a.channel < b.channel ? -1 : a.channel > b.channel ? 1 : 0,
    );
    // What was left and subscribed to meanwhile comes a second time.
    found = sorted.filter(({ channel }, i) => channel !== sorted[i - 1]?.channel);
    if (found.length <= limit) return;
    found.length = limit;
    last = found.at(-1)?.channel;
    more = true;
  };
  for (const channel of channels) {
    if (clock.isOver) await clock.next();
    if (!isWanted(channel)) continue;
    if (last !== undefined && channel.channel > last) continue;
    if (found.push(channel) >= bound) await cut();
  }
  await cut();
  return { page: found, more };
}

function compileOrThrow(pattern: string): (text: string) => boolean {
  try {
    return compileGlob(pattern);
  } catch (cause) {
    throw new ApiError("badRequest", `pattern ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}
