/** The live page of one channel, or of a list or pattern of them: the one whose path this page was opened at. */
import { curlCredential, hideRefused } from "./credential.ts";
import { fillCommand, quoteForShell } from "./command.ts";
import { ConnectionState } from "./connection_state.ts";
import { Conversation } from "./conversation.ts";
import { Cursors } from "./cursors.ts";
import { FollowFeed } from "./follow_feed.ts";
import { hueOf, readName } from "./identity.ts";
import { LiveFeed } from "./live_feed.ts";
import { summarize } from "./message_view.ts";
import { openNameDialog } from "./name_dialog.ts";
import { People } from "./people.ts";
import { Rainfall } from "./rainfall.ts";
import { openShare } from "./share.ts";
import { openNotifyButton, Unread } from "./unread.ts";

const { origin, pathname } = location;
const channel = decodeURIComponent(pathname.slice(1));
// A list or pattern reads many channels, so there is no one channel to write to. A comma of a name is escaped.
const isSingle = !pathname.includes(",") && !channel.includes("*");

const find = <E extends HTMLElement = HTMLElement>(selector: string) => document.querySelector<E>(selector)!;

document.title = `${channel} · Raindrops`;
find("#channel").textContent = channel;

const unread = new Unread(channel);
const rainfall = new Rainfall(find("#sky"));
let name = readName();
let user: string | undefined;

const conversation = new Conversation({
  channel,
  path: pathname,
  name: () => name,
  user: () => user,
  isSingle,
  takesFocus: isSingle,
  lastOffset: () => feed instanceof LiveFeed ? feed.lastOffset : 0,
  restart: () => feed.start(),
  onMessages(messages, isMine) {
    for (const message of messages) {
      rainfall.letFall(summarize(message), hueOf(message.author?.name ?? message.author?.id ?? ""));
    }
    const others = messages.filter((message) => !isMine(message));
    const newest = others.at(-1);
    if (newest !== undefined) unread.add(others.length, summarize(newest));
  },
});

const state = new ConnectionState(find("#state"), () => feed.start());
const feed: LiveFeed | FollowFeed = isSingle
  ? openLiveFeed()
  : new FollowFeed(pathname, state, conversation.handlers);

hideRefused();
openShare(find<HTMLButtonElement>("#share"), find<HTMLDialogElement>("#share-dialog"), pathname, isSingle);
openNotifyButton(find<HTMLButtonElement>("#notify"));
fillCommand(
  find("#try"),
  isSingle
    ? `curl ${curlCredential}-d 'it rains' ${quoteForShell(origin + pathname)}`
    : `curl ${curlCredential}-N ${quoteForShell(`${origin + pathname}?follow`)}`,
);

/** Who is here and everyone's pointer come with a single channel. */
function openLiveFeed(): LiveFeed {
  let client: string | undefined;
  const people = new People({
    list: find("#people"),
    count: find("#people-count"),
    ownClient: () => client,
    onChange(who, kind) {
      const words = `${who} ${kind === "join" ? "is here" : "has left"}`;
      find("#coming").textContent = words;
      conversation.announce(words);
    },
    onOwnUser(known) {
      user = known;
      // Whom a token names has that name.
      find("#name").hidden = known !== undefined;
    },
    onLeave: (id) => cursors?.forget(id),
  });
  let cursors: Cursors | undefined;
  const live = new LiveFeed({
    channel,
    path: pathname,
    name,
    state,
    handlers: conversation.handlers,
    onSubscription(subscription) {
      people.follow(subscription);
      cursors = new Cursors({
        centrifuge: live.centrifuge,
        channel,
        layer: find("#cursors"),
        ownClient: () => client,
        isWatched: () => people.others > 0,
      });
    },
  });
  live.centrifuge.on("connected", (context) => client = context.client);
  live.centrifuge.on("connecting", () => conversation.pause());
  find("#who").hidden = false;
  openNameDialog(
    find<HTMLButtonElement>("#name"),
    find<HTMLDialogElement>("#name-dialog"),
    () => name,
    (chosen) => {
      name = chosen;
      live.rename(chosen);
    },
  );
  return live;
}
