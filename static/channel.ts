/** The live page of one channel: the one whose path this page was opened at. Lists and patterns have `pattern/`. */
import { openAttachments } from "./attachments.ts";
import { curlCredential, hideRefused } from "./credential.ts";
import { fillCommand, quoteForShell } from "./command.ts";
import { ConnectionState } from "./connection_state.ts";
import { Conversation } from "./conversation.ts";
import { Cursors } from "./cursors.ts";
import type { Beginning } from "./feed.ts";
import { MAX_PAGE_SIZE } from "./history.ts";
import { hueOf, readId, readName } from "./identity.ts";
import { openLightbox } from "./lightbox.ts";
import { LiveFeed } from "./live_feed.ts";
import { openMessageMenu } from "./message_menu.ts";
import { summarize } from "./message_view.ts";
import { openNameDialog } from "./name_dialog.ts";
import { People } from "./people.ts";
import { findPush } from "./push.ts";
import { Rainfall } from "./rainfall.ts";
import { openSearch } from "./search.ts";
import { openShare } from "./share.ts";
import { readTokenUser } from "./token.ts";
import { Toast } from "./toast.ts";
import { openNotifyButton, Unread } from "./unread.ts";

const { origin, pathname } = location;
const channel = decodeURIComponent(pathname.slice(1)).normalize("NFC");

const find = <E extends HTMLElement = HTMLElement>(selector: string) => document.querySelector<E>(selector)!;

document.title = `${channel} · Raindrops`;
find("#channel").textContent = channel;

const unread = new Unread(channel);
const rainfall = new Rainfall(find("#sky"));
let name = readName();
let user = readTokenUser();
const ownClients = new Set<string>();
const toast = new Toast(find("#toast"));

const conversation = new Conversation({
  channel,
  path: pathname,
  name: () => name,
  user: () => user,
  ownClients,
  // A permalink leads to its message, which gets the focus then.
  takesFocus: location.hash === "",
  publish: (text) => feed.publish(text),
  decorate: openMessageMenu({
    menu: find("#message-menu"),
    raw: find<HTMLDialogElement>("#raw-dialog"),
    removal: find<HTMLDialogElement>("#remove-dialog"),
    list: find("#messages"),
    onNotice: (text) => toast.show(text),
  }),
  lastOffset: () => feed.lastOffset,
  restart: () => feed.start(),
  onGone: (isGone) => search.drop(isGone),
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
const feed: LiveFeed = openLiveFeed();

hideRefused();
openLightbox(find<HTMLDialogElement>("#lightbox"), [find("#messages"), find("#search ol")]);
const search = openSearch({
  button: find<HTMLButtonElement>("#find"),
  panel: find("#search"),
  path: pathname,
  isSingle: true,
  watch: conversation.watch,
  isMine: conversation.isMine,
  toMessage: (id) => conversation.jump.toMessage(id),
  toTime: (time) => conversation.jump.toTime(time),
});
const attachments = openAttachments({
  path: pathname,
  composer: find<HTMLFormElement>("#composer"),
  button: find<HTMLButtonElement>("#attach"),
  input: find<HTMLInputElement>("#files"),
  target: find(".conversation"),
  list: find("#uploads"),
  sender: () => ({ id: readId(), name }),
  onStart: () => conversation.scrollToEnd(),
});
feed.centrifuge.on("connected", () => attachments.resume());
addEventListener("hashchange", () => void conversation.jump.toMessage(location.hash.slice(1)));
openShare(find<HTMLButtonElement>("#share"), find<HTMLDialogElement>("#share-dialog"), pathname, true);
openNotifyButton(
  find<HTMLButtonElement>("#notify"),
  findPush(channel),
  (text) => toast.show(text),
);
fillCommand(find("#try"), `curl ${curlCredential}-d 'it rains' ${quoteForShell(origin + pathname)}`);

/** Where the address says to begin, in the words of every other reader. */
function readBeginning(): Beginning {
  const query = new URLSearchParams(location.search);
  const limit = Number(query.get("limit"));
  return {
    since: query.get("since") || undefined,
    limit: limit >= 1 ? Math.min(Math.floor(limit), MAX_PAGE_SIZE) : undefined,
  };
}

/** The messages, who is here, and everyone's pointer. */
function openLiveFeed(): LiveFeed {
  let client: string | undefined;
  const people = new People({
    list: find("#people"),
    count: find("#people-count"),
    ownClient: () => client,
    onChange(words) {
      find("#coming").textContent = words;
      conversation.announce(words);
    },
    onOwnUser(known) {
      user = known;
      showName();
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
    begin: readBeginning(),
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
  live.centrifuge.on("connected", (context) => ownClients.add(client = context.client));
  live.centrifuge.on("connecting", () => conversation.pause());
  // Whom a token names has that name.
  const showName = () => find("#name").hidden = user !== undefined;
  showName();
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
