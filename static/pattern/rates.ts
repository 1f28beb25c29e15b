/** How many messages a second come, in all and on the busiest channels, over the last ten seconds. */
import type { ChannelMessage } from "../channel_message.ts";

const WINDOW_SECONDS = 10;
const SHOWN_CHANNELS = 6;
const RATE = new Intl.NumberFormat(undefined, { maximumFractionDigits: 1 });

interface RatesOptions {
  readonly total: HTMLElement;
  readonly list: HTMLElement;
  /** Called with the channel whose rate was chosen. */
  readonly onChoose: (channel: string) => void;
}

export class Rates {
  readonly #options: RatesOptions;
  /** What came in each of the last seconds, by channel; the newest last. */
  #seconds: Map<string, number>[] = [new Map()];
  readonly #buttons = new Map<string, HTMLElement>();

  constructor(options: RatesOptions) {
    this.#options = options;
    this.#show();
    setInterval(() => {
      this.#show();
      this.#seconds = [...this.#seconds.slice(1 - WINDOW_SECONDS), new Map()];
    }, 1_000);
  }

  count(messages: readonly ChannelMessage[]): void {
    const second = this.#seconds.at(-1)!;
    for (const { channel } of messages) second.set(channel, (second.get(channel) ?? 0) + 1);
  }

  #show(): void {
    const counts = new Map<string, number>();
    for (const second of this.#seconds) {
      for (const [channel, count] of second) counts.set(channel, (counts.get(channel) ?? 0) + count);
    }
    const format = (count: number) => RATE.format(count / this.#seconds.length);
    const all = [...counts.values()].reduce((sum, count) => sum + count, 0);
    setText(this.#options.total, `${format(all)} a second`);
    const busiest = [...counts].sort(([, a], [, b]) => b - a).slice(0, SHOWN_CHANNELS);
    for (const [channel, button] of this.#buttons) {
      if (busiest.some(([name]) => name === channel)) continue;
      button.remove();
      this.#buttons.delete(channel);
    }
    for (const [channel, count] of busiest) {
      const item = this.#buttons.get(channel) ?? this.#createButton(channel);
      setText(item.querySelector("span")!, `${format(count)}/s`);
    }
  }

  #createButton(channel: string): HTMLElement {
    const name = document.createElement("bdi");
    name.textContent = `/${channel}`;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "quiet";
    button.title = `Show ${channel} only`;
    button.append(name, " ", document.createElement("span"));
    button.onclick = () => this.#options.onChoose(channel);
    const item = document.createElement("li");
    item.append(button);
    this.#buttons.set(channel, item);
    this.#options.list.append(item);
    return item;
  }
}

function setText(element: Element, text: string): void {
  if (element.textContent !== text) element.textContent = text;
}
