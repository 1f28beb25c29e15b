/** The busy and the recent channels of this server, on the home page of those who may see them. */
import { read, Refused, repeat } from "./inspect/connection.ts";
import { formatAge, formatShort } from "./inspect/format.ts";

interface Lively {
  readonly busy: readonly { readonly channel: string; readonly rate: number; readonly subscribers: number }[];
  readonly recent: readonly { readonly channel: string; readonly time: number }[];
}

const RENEW_MILLISECONDS = 5_000;

/** Shows both lists while somebody looks, until the server says that they are for operators. */
export function openLively(section: HTMLElement): void {
  const [busy, recent] = [section.querySelector("#busy")!, section.querySelector("#recent")!];
  const stop = repeat(RENEW_MILLISECONDS, async () => {
    try {
      const lively = await read<Lively>("lively");
      show(
        busy,
        lively.busy.map(({ channel, rate, subscribers }) => ({
          channel,
          note: rate > 0 ? `${formatShort(rate)}/s` : `${subscribers} here`,
        })),
      );
      show(recent, lively.recent.map(({ channel, time }) => ({ channel, note: `${formatAge(time)} ago` })));
      section.hidden = lively.busy.length + lively.recent.length === 0;
    } catch (error) {
      if (!(error instanceof Refused) || error.status !== 401) throw error;
      stop();
      section.hidden = true;
    }
  });
}

/** Renews a list; items that stay keep their elements, and with them the focus. */
function show(list: Element, rows: readonly { readonly channel: string; readonly note: string }[]): void {
  list.parentElement!.hidden = rows.length === 0;
  const known = new Map([...list.children].map((item) => [item.querySelector("a")!.textContent!, item]));
  const items = rows.map(({ channel, note }) => {
    const item = known.get(`/${channel}`) ?? createItem(channel);
    const words = item.querySelector("span")!;
    if (words.textContent !== note) words.textContent = note;
    return item;
  });
  if (items.length === list.children.length && items.every((item, i) => item === list.children[i])) return;
  list.replaceChildren(...items);
}

function createItem(channel: string): HTMLElement {
  const link = document.createElement("a");
  link.href = `/${channel.split("/").map(encodeURIComponent).join("/")}`;
  link.textContent = `/${channel}`;
  const item = document.createElement("li");
  item.append(link, document.createElement("span"));
  return item;
}
