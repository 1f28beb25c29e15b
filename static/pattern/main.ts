/** The page of a list or pattern of channels: a table of what is published to any of them, as it comes. */
import { credentialName, curlCredential, hideRefused, takesKey } from "../credential.ts";
import { ChangeWatch } from "../change_watch.ts";
import { fillCommand, quoteForShell } from "../command.ts";
import { ConnectionState } from "../connection_state.ts";
import type { Beginning, FeedHandlers } from "../feed.ts";
import { FollowFeed } from "../follow_feed.ts";
import { MAX_PAGE_SIZE } from "../history.ts";
import { openLightbox } from "../lightbox.ts";
import { lockControls } from "../lock.ts";
import { goneBy, type IsGone } from "../removal.ts";
import { openSearch } from "../search.ts";
import { openShare } from "../share.ts";
import { useToken } from "../token.ts";
import { openPublish } from "./publish.ts";
import { Rates } from "./rates.ts";
import { StreamTable } from "./stream_table.ts";

const { origin, pathname } = location;
const name = decodeURIComponent(pathname.slice(1)).normalize("NFC");
const find = <E extends HTMLElement = HTMLElement>(selector: string) => document.querySelector<E>(selector)!;

document.title = `${name} · Raindrops`;
find("#channel").textContent = name;

const filter = find<HTMLInputElement>("#filter");
const pause = find<HTMLButtonElement>("#pause");

const publish = openPublish({
  form: find<HTMLFormElement>("#publish"),
  channels: find("#channels"),
  problem: find("#problem"),
  sent: find("#sent"),
  patterns: pathname.slice(1).split(",").map((part) => decodeURIComponent(part).normalize("NFC")),
});
const table = new StreamTable(find("#rows"), ({ shown, matching, waiting, isPaused }) => {
  find("#quiet").hidden = shown > 0;
  find("#stream").hidden = shown === 0;
  find("#shown").textContent = filter.value.trim() === ""
    ? `${shown} shown`
    : `${matching} of ${shown} match`;
  pause.ariaPressed = String(isPaused);
  pause.textContent = isPaused ? `Go on${waiting > 0 ? ` (${waiting} more)` : ""}` : "Pause";
});
const rates = new Rates({
  total: find("#rate"),
  list: find("#busiest"),
  onChoose(channel) {
    filter.value = channel;
    table.filter(channel);
  },
});

filter.oninput = () => table.filter(filter.value);
pause.onclick = () => table.pause(pause.ariaPressed !== "true");
find("#clear").onclick = () => table.clear();

const watch = new ChangeWatch();
const drop = (isGone: IsGone) => {
  watch.noteGone(isGone);
  table.drop(isGone);
  search.drop(isGone);
};
const handlers: FeedHandlers = {
  onHistory(messages) {
    table.add(messages);
    publish.offer(messages);
  },
  onLive(messages) {
    table.add(messages);
    rates.count(messages);
    publish.offer(messages);
  },
  onReset: () => table.clear(),
  onRemoved: (removal) => drop(goneBy(removal)),
  onGone: drop,
  onHistoryDenied: () => {},
  onGap: () => table.addGap(),
  onReady() {
    find("#notice").hidden = true;
    lockControls(undefined);
  },
  onNotice: (text) => notify(text, false, false),
  onEnd(reason, asksForToken) {
    if (asksForToken) lockControls(`This takes ${credentialName}`);
    notify(reason, asksForToken, !asksForToken);
  },
};
const state = new ConnectionState(find("#state"), () => feed.start());
const feed: FollowFeed = new FollowFeed(pathname, state, handlers, readBeginning());

hideRefused();
openLightbox(find<HTMLDialogElement>("#lightbox"), [find("#rows"), find("#search ol")]);
const search = openSearch({
  button: find<HTMLButtonElement>("#find"),
  panel: find("#search"),
  path: pathname,
  isSingle: false,
  watch,
  isMine: () => false,
  toMessage: () => Promise.resolve(),
  toTime: () => Promise.resolve(),
});
openShare(find<HTMLButtonElement>("#share"), find<HTMLDialogElement>("#share-dialog"), pathname, false);
fillCommand(find("#try"), `curl ${curlCredential}-N ${quoteForShell(`${origin + pathname}?follow`)}`);
find("#again").onclick = () => {
  find("#notice").hidden = true;
  feed.start();
};
find("#token").onsubmit = (event) => {
  event.preventDefault();
  useToken(find<HTMLInputElement>("#token input").value);
  location.reload();
};

function notify(text: string, asksForToken: boolean, offersRestart: boolean): void {
  find("#notice").hidden = false;
  find("#notice-text").textContent = text;
  find("#token").hidden = !asksForToken;
  find("#again").hidden = !offersRestart;
  if (!asksForToken || !takesKey) return;
  const input = find<HTMLInputElement>("#token input");
  input.placeholder = "Paste an API key";
  input.ariaLabel = "API key";
}

/** Where the address says to begin, in the words of every other reader. */
function readBeginning(): Beginning {
  const query = new URLSearchParams(location.search);
  const limit = Number(query.get("limit"));
  return {
    since: query.get("since") || undefined,
    limit: limit >= 1 ? Math.min(Math.floor(limit), MAX_PAGE_SIZE) : undefined,
  };
}
