/** The method `channels` of the HTTP API. Unlike Centrifugo's, it can list channels page by page. */
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
export function channels({ hub }: ApiContext, fields: Fields): string {
  const pattern = fields.string("pattern");
  const limit = fields.integer("limit", 1, 2 ** 31 - 1) || Infinity;
  const cursor = fields.string("cursor");
  const matches = pattern === "" ? () => true : compileOrThrow(pattern);
  const wanted = hub.listChannels();
  const { page, more } = takeFirst(wanted, limit, ({ channel }) => channel > cursor && matches(channel));
  // Not JSON.stringify: an object would put names that look like integers first.
  const entries = page.map(({ channel, subscribers }) =>
    `${JSON.stringify(channel)}:{"num_clients":${subscribers}}`
  );
  const next = more ? `,"next":${JSON.stringify(page.at(-1)?.channel)}` : "";
  return `{"channels":{${entries.join(",")}}${next}}`;
}

/**
 * The first wanted channels by name. Keeps and sorts little more than one page, so that a page costs one pass over all
 * channels.
 */
function takeFirst(
  channels: Iterable<Channel>,
  limit: number,
  isWanted: (channel: Channel) => boolean,
): { readonly page: readonly Channel[]; readonly more: boolean } {
  const bound = limit + Math.max(limit, SPARE_NAMES);
  const found: Channel[] = [];
  let last: string | undefined;
  let more = false;
  const cut = () => {
    found.sort((a, b) => a.channel < b.channel ? -1 : 1);
    if (found.length <= limit) return;
    found.length = limit;
    last = found.at(-1)?.channel;
    more = true;
  };
  for (const channel of channels) {
    if (!isWanted(channel)) continue;
    if (last !== undefined && channel.channel > last) continue;
    if (found.push(channel) >= bound) cut();
  }
  cut();
  return { page: found, more };
}

function compileOrThrow(pattern: string): (text: string) => boolean {
  try {
    return compileGlob(pattern);
  } catch (cause) {
    throw new ApiError("badRequest", `pattern ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}
