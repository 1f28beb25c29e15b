/** The drawer of one channel: its numbers, a form to publish to it, its messages as they come, and who reads it. */
import { describe, type ShownMessage } from "./channels.ts";
import type { ClientRow } from "./clients.ts";
import { read, readLines, repeat } from "./connection.ts";
import { create, createRowButton, createText, find, Rows, setText, showFacts } from "./elements.ts";
import { formatAge, formatCount, formatShort, formatTime } from "./format.ts";
import { openPublish } from "./publish.ts";

interface ReaderRow extends ClientRow {
  readonly by: string;
}

interface ChannelDetails {
  readonly subscribers: number;
  readonly rate: number;
  readonly stored?: number;
  readonly offset?: number;
  readonly readers: readonly ReaderRow[];
}

interface TailLine {
  readonly messages: readonly ShownMessage[];
  readonly missed: number;
}

const RENEW_MILLISECONDS = 2_000;
const RETRY_MILLISECONDS = 2_000;
const KEPT_MESSAGES = 100;

/** Shows a channel until the returned function is called. */
export function openChannel(channel: string, onChoose: (client: ClientRow) => void): () => void {
  const abort = new AbortController();
  const title = find("channel-title");
  const link = find<HTMLAnchorElement>("channel-link");
  const tail = find("tail");
  setText(title, channel);
  const path = `/${channel.split("/").map(encodeURIComponent).join("/")}`;
  link.href = path;
  openPublish(channel, path);
  tail.replaceChildren();
  find("channel").hidden = false;

  const rows = new Rows<ReaderRow>(
    find("reader-rows"),
    ({ connection, by }) => `${connection} ${by}`,
    (client) => {
      const head = create(
        "th",
        "",
        createRowButton(client.name ?? client.user ?? client.id, () => onChoose(client)),
      );
      head.scope = "row";
      return [head, create("td", ""), create("td", "")];
    },
    ({ protocol, since, by }, [, protocolCell, age]) => {
      setText(protocolCell!, by === channel ? protocol : `${protocol}, by ${by}`);
      setText(age!, formatAge(since));
    },
  );
  const stop = repeat(RENEW_MILLISECONDS, async () => {
    const details = await read<ChannelDetails>("channel", { channel });
    if (abort.signal.aborted) return;
    const { subscribers, rate, stored, offset, readers } = details;
    showFacts(find("channel-facts"), [
      ["Subscribers", formatCount(subscribers)],
      ["Messages a second", rate === 0 ? "0" : formatShort(rate)],
      ["Stored", stored === undefined ? "–" : formatCount(stored)],
      ["Newest offset", offset === undefined ? "–" : formatCount(offset)],
    ]);
    const nobody = subscribers === 0 ? "Nobody." : "Nobody on this node.";
    rows.show(readers, nobody);
  });
  void follow(channel, tail, abort.signal);
  return () => {
    stop();
    abort.abort();
    find("channel").hidden = true;
  };
}

/** Reads the tail, and again when it breaks, until the signal fires. */
async function follow(channel: string, tail: HTMLElement, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    tail.replaceChildren();
    try {
      await readLines<TailLine>("tail", { channel }, signal, (line) => show(tail, line));
    } catch {
      // The stream of samples tells the reader what is wrong.
    }
    await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
  }
}

function show(tail: HTMLElement, { messages, missed }: TailLine): void {
  const isAtEnd = tail.scrollHeight - tail.scrollTop - tail.clientHeight < 40;
  if (missed > 0) tail.append(create("li", "missed", `${formatCount(missed)} more came by`));
  tail.append(...messages.map(createLine));
  while (tail.children.length > KEPT_MESSAGES) tail.firstElementChild!.remove();
  if (isAtEnd) tail.scrollTop = tail.scrollHeight;
}

function createLine(message: ShownMessage): HTMLLIElement {
  const time = create("time", "", formatTime(message.time));
  time.dateTime = new Date(message.time).toISOString();
  const line = create("li", "", time, createText(describe(message)));
  if (message.from !== undefined) line.append(create("bdi", "", message.from));
  return line;
}
