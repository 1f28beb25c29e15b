/** The inspector: asks for the key if there is one, then shows what the server does, as it does it. */
import { openChannel } from "./channel.ts";
import { openChannels } from "./channels.ts";
import { openClient, openClients } from "./clients.ts";
import { forgetKey, readLines, Refused, rememberKey } from "./connection.ts";
import { create, find, Rows, setText } from "./elements.ts";
import { formatCount } from "./format.ts";
import { Plots, type Sample, type Totals } from "./plots.ts";
import { openPublish } from "./publish.ts";
import { type Refusal, showRefusals } from "./refusals.ts";

interface Node {
  readonly node: string;
  readonly name: string;
  /** Such as `0.2.0`; nodes may run different ones while they are updated. */
  readonly version: string;
  readonly clients: number;
  readonly channels: number;
  readonly published: number;
  readonly delivered: number;
}

interface Line {
  readonly samples: readonly Sample[];
  readonly refusals: readonly Refusal[];
  readonly missed: number;
  readonly totals: Totals & { readonly refusals: Readonly<Record<string, number>> };
  readonly nodes: readonly Node[];
}

const RETRY_MILLISECONDS = 2_000;
const CHANNEL_HASH = "#channel=";

const state = find("state");
const form = find<HTMLFormElement>("key-form");
const key = find<HTMLInputElement>("key");
const watch = find("watch");
const plots = new Plots(find("plots"));
const fillInChannel = openPublish();
const nodeRows = new Rows<Node>(
  find("node-rows"),
  ({ node }) => node,
  ({ name }) => {
    const head = create("th", "", name);
    head.scope = "row";
    return [head, ...Array.from({ length: 4 }, () => create("td", "number"))];
  },
  ({ clients, channels, published, delivered }, [, ...cells]) => {
    [clients, channels, published, delivered].forEach((value, i) => setText(cells[i]!, formatCount(value)));
  },
);
let isOpen = false;
let closeChannel = () => {};

function showState(kind: string, words: string): void {
  state.dataset.state = kind;
  setText(state, words);
}

/** Follows the server's samples for as long as the page is open, whatever happens to the server. */
async function follow(): Promise<void> {
  for (;;) {
    showState("connecting", "Connecting…");
    try {
      plots.clear();
      await readLines<Line>("stream", {}, new AbortController().signal, show);
    } catch (error) {
      if (error instanceof Refused && error.status === 401) return askForKey(error.message);
    }
    showState("waiting", "Disconnected: trying again.");
    await new Promise((resolve) => setTimeout(resolve, RETRY_MILLISECONDS));
  }
}

function show({ samples, refusals, missed, totals, nodes }: Line): void {
  if (!isOpen) open();
  showState("open", "Live");
  plots.show(samples, totals);
  showRefusals(refusals, missed, totals.refusals);
  const versions = new Set(nodes.map(({ version }) => version));
  setText(find("version"), `Raindrops ${[...versions].join(", ")}`);
  find("nodes").hidden = nodes.length < 2;
  nodeRows.show(nodes, "");
}

/** Shows everything, once the server has let the page in. */
function open(): void {
  isOpen = true;
  form.hidden = true;
  watch.hidden = false;
  openChannels((channel) => {
    history.replaceState(null, "", CHANNEL_HASH + encodeURIComponent(channel));
    chooseChannel(channel);
    find("channel-title").focus();
  });
  openClients();
  if (location.hash.startsWith(CHANNEL_HASH)) {
    chooseChannel(decodeURIComponent(location.hash.slice(CHANNEL_HASH.length)));
  }
}

function chooseChannel(channel: string): void {
  closeChannel();
  closeChannel = openChannel(channel, openClient);
  fillInChannel(channel);
}

function askForKey(reason: string): void {
  showState("waiting", "Locked");
  const hadKey = key.value !== "";
  forgetKey();
  setText(find("key-reason"), hadKey ? "That is not one of the server's keys." : reason);
  form.hidden = false;
  key.value = "";
  key.focus();
}

find("channel-close").onclick = () => {
  closeChannel();
  history.replaceState(null, "", location.pathname);
  find("channel-filter").focus();
};
form.onsubmit = (event) => {
  event.preventDefault();
  rememberKey(key.value.trim());
  void follow();
};
void follow();
