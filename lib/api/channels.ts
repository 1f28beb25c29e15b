/** The method of the HTTP API that lists channels, page by page if asked to, which Centrifugo cannot. */
import type { ApiContext } from "./context.ts";
import { ApiError } from "./error.ts";
import type { Fields } from "./fields.ts";
import { compileGlob } from "./glob.ts";

/** Names are sorted when so many more were found than fit on the page. */
const SPARE_NAMES = 1_000;

interface Channel {
  readonly channel: string;
  readonly subscribers: number;
}

/**
 * The channels somebody reads by name, sorted, with the number of their readers. `pattern` chooses by glob. With
 * `limit` the answer holds so many and, if there are more, `next`: the `cursor` of the page that follows.
 */
export function channels({ hub }: ApiContext, fields: Fields): string {
  const pattern = fields.string("pattern");
  const limit = fields.integer("limit", 1, 2 ** 31 - 1) || Infinity;
  const cursor = fields.string("cursor");
  const matches = pattern === "" ? () => true : compileOrThrow(pattern);
  const wanted = hub.listChannels();
  const { page, more } = takeFirst(wanted, limit, ({ channel }) => channel > cursor && matches(channel));
  // By hand: an object would put names that look like numbers first.
  const entries = page.map(({ channel, subscribers }) =>
    `${JSON.stringify(channel)}:{"num_clients":${subscribers}}`
  );
  const next = more ? `,"next":${JSON.stringify(page.at(-1)?.channel)}` : "";
  return `{"channels":{${entries.join(",")}}${next}}`;
}

/**
 * The first by name of those that are wanted. Keeps little more than a page in hand and sorts only that: the cost of
 * a page is one look at each channel.
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
