/** The home page: commands to copy, a box that opens a channel, and the live lobby. */
import { showCommands } from "./command.ts";
import { ConnectionState } from "./connection_state.ts";
import { credentialName, hideRefused, takesCredential, takesKey } from "./credential.ts";
import { Conversation } from "./conversation.ts";
import { readName } from "./identity.ts";
import { LiveFeed } from "./live_feed.ts";
import { openLively } from "./lively.ts";
import { mayInspect } from "./inspect/connection.ts";
import { openTabs } from "./tabs.ts";

const CHANNEL = "lobby";
const name = readName();

showCommands();
hideRefused();
openTabs(document.querySelector<HTMLElement>(".tabs")!);
if (mayInspect()) openLively(document.querySelector<HTMLElement>("#lively")!);
const takes = document.querySelector<HTMLElement>("#takes")!;
takes.hidden = !takesCredential;
takes.textContent = `This server takes ${credentialName}: put it into the variable ${
  takesKey ? "KEY" : "TOKEN"
} first.`;

const conversation = new Conversation({
  channel: CHANNEL,
  path: "/",
  name: () => name,
  user: () => undefined,
  lastOffset: () => feed.lastOffset,
  restart: () => feed.start(),
});
const state = new ConnectionState(document.querySelector<HTMLElement>("#state")!, () => feed.start());
const feed: LiveFeed = new LiveFeed({
  channel: CHANNEL,
  path: "/",
  name,
  state,
  handlers: conversation.handlers,
});
feed.centrifuge.on("connecting", () => conversation.pause());

document.querySelector("#origin")!.textContent = `${location.host}/`;

// For whoever installs this page, or comes back while the server is away.
if ("serviceWorker" in navigator) navigator.serviceWorker.register("/_offline.js").catch(() => {});
