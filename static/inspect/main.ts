/** The inspector: asks for the key if there is one, then shows what the server does, as it does it. */
import { ConnectionState } from "../connection_state.ts";
import { openChannel } from "./channel.ts";
import { type ChannelTable, openChannels } from "./channels.ts";
import { openClient, openClients } from "./clients.ts";
import { forgetKey, readLines, Refused, rememberKey } from "./connection.ts";
import { find, setText } from "./elements.ts";
import { type NodeRow, showNodes } from "./nodes.ts";
import { Plots, type Sample, type Totals } from "./plots.ts";
import { type Refusal, showRefusals } from "./refusals.ts";
import { openTokens } from "./tokens.ts";
import { openWork } from "./work.ts";

interface Line {
  readonly samples: readonly Sample[];
  readonly refusals: readonly Refusal[];
  readonly missed: number;
  readonly totals: Totals & { readonly refusals: Readonly<Record<string, number>> };
  readonly nodes: readonly NodeRow[];
  /** The threads of this process, where it has workers. */
  readonly threads: readonly NodeRow[];
}

const CHANNEL_HASH = "#channel=";

const state = new ConnectionState(find("state"), () => void follow());
const form = find<HTMLFormElement>("key-form");
const key = find<HTMLInputElement>("key");
const watch = find("watch");
const plots = new Plots(find("plots"));
let isOpen = false;
let channels: ChannelTable;
let closeChannel = () => {};
let chosen: string | undefined;

/** Follows the server's samples until the stream ends. The state of the connection says when to try again. */
async function follow(): Promise<void> {
  state.connecting();
  let isLive = false;
  try {
    plots.clear();
    await readLines<Line>("stream", {}, undefined, (line) => {
      show(line);
      if (!isLive) state.live();
      isLive = true;
    });
    state.lost("");
  } catch (error) {
    if (error instanceof Refused && error.status === 401) askForKey(error.message);
    else state.lost(error instanceof Refused ? error.message : "");
  }
}

function show({ samples, refusals, missed, totals, nodes, threads }: Line): void {
  if (!isOpen) open();
  plots.show(samples, totals);
  showRefusals(refusals, missed, totals.refusals);
  const versions = new Set(nodes.map(({ version }) => version));
  setText(find("version"), `Raindrops ${[...versions].join(", ")}`);
  showNodes(nodes, threads);
}

/** Shows everything, once the server has let the page in. */
function open(): void {
  isOpen = true;
  form.hidden = true;
  watch.hidden = false;
  channels = openChannels((channel) => {
    history.replaceState(null, "", CHANNEL_HASH + encodeURIComponent(channel));
    chooseChannel(channel);
    find("channel-title").focus();
  });
  openClients();
  openWork();
  void openTokens();
  if (location.hash.startsWith(CHANNEL_HASH)) {
    chooseChannel(decodeURIComponent(location.hash.slice(CHANNEL_HASH.length)));
  }
}

function chooseChannel(channel: string): void {
  closeChannel();
  closeChannel = openChannel(channel, openClient);
  chosen = channel;
  channels.mark(channel);
}

function askForKey(reason: string): void {
  state.ended("Locked");
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
  channels.mark(undefined);
  channels.focus(chosen);
  chosen = undefined;
};
find("channel").onkeydown = ({ key }) => {
  if (key === "Escape") find("channel-close").click();
};
form.onsubmit = (event) => {
  event.preventDefault();
  rememberKey(key.value.trim());
  void follow();
};
void follow();
