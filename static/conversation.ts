/** One channel as a conversation: its history, then what arrives, and a box to write in. Home and channel page. */
import { Announcer } from "./announcer.ts";
import { ChangeWatch } from "./change_watch.ts";
import { type Author, type ChannelMessage, labelOf } from "./channel_message.ts";
import { Composer } from "./composer.ts";
import { credentialName, takesKey } from "./credential.ts";
import type { FeedHandlers } from "./feed.ts";
import { fetchPage, FURTHER_SIZE } from "./history.ts";
import { readId } from "./identity.ts";
import { Jump } from "./jump.ts";
import { answerLocally } from "./local_answers.ts";
import { lockControls } from "./lock.ts";
import { MessageList } from "./message_list.ts";
import { summarize } from "./message_view.ts";
import { findProblem, Outbox } from "./outbox.ts";
import { showOutbox } from "./outbox_view.ts";
import { goneBy, type IsGone } from "./removal.ts";
import { useToken } from "./token.ts";

/** How long a hidden page waits before it shows what came: nothing is painted there anyway. */
const HIDDEN_PAUSE_MS = 250;

/** What is known of a message that went past the log: that of the channel `echo`. */
const UNSTORED = { epoch: "", offset: 0, sequence: 0, event: undefined, author: undefined };

export interface ConversationOptions {
  readonly channel: string;
  readonly path: string;
  /** The name to write under. */
  readonly name: () => string;
  /** Whom this page's token names, once that is known. */
  readonly user: () => string | undefined;
  readonly lastOffset: () => number;
  /** Publishes by the subscription; left out where that is not possible. */
  readonly publish?: ((text: string) => Promise<void>) | undefined;
  /** The ids of this page's own connections. */
  readonly ownClients?: ReadonlySet<string>;
  /** Adds to a new item what one can do with its message. */
  readonly decorate?: ((item: HTMLElement, message: ChannelMessage) => void) | undefined;
  /** Whether the box is what a person wants first. */
  readonly takesFocus?: boolean;
  /** Connects again after the server ended the connection. */
  readonly restart: () => void;
  /** Called with what was removed, beside what this conversation shows. */
  readonly onGone?: (isGone: IsGone) => void;
  /** Called with what others and this page have just published. */
  readonly onMessages?: (
    messages: readonly ChannelMessage[],
    isMine: (message: ChannelMessage) => boolean,
  ) => void;
}

/** Fills the conversation of this page. A feed drives it by its handlers. */
export class Conversation {
  readonly handlers: FeedHandlers;
  /** What comes and is removed, for whoever fetches pages of this channel. */
  readonly watch = new ChangeWatch();
  readonly #options: ConversationOptions;
  readonly #id = readId();
  readonly #list: MessageList;
  /** Away from the newest messages, as far as that is possible. */
  readonly jump: Jump;
  readonly #outbox: Outbox;
  readonly #composer: Composer;
  readonly #announcer = new Announcer(find("#announcements"));
  readonly #more = find<HTMLButtonElement>("#more");
  readonly #hidden = new Set<string>();
  #waiting: ChannelMessage[] = [];
  #isScheduled = false;
  #isLive = false;
  #unseen = 0;

  constructor(options: ConversationOptions) {
    this.#options = options;
    const { path, channel } = options;
    const { isMine } = this;
    const scroller = find("#scroller");
    this.#list = new MessageList({
      scroller,
      list: find("#messages"),
      older: find("#older"),
      isMine,
      loadOlder: (before) =>
        this.watch.during(async (changes) => {
          const page = await fetchPage(path, { limit: FURTHER_SIZE, before });
          return { ...page, messages: changes.left(page.messages) };
        }),
      onNearEnd: () => void this.jump.readOn(),
      decorate: options.decorate,
    });
    this.jump = new Jump({
      path,
      list: this.#list,
      watch: this.watch,
      onNotice: (text) => this.#notify(text, false, false),
      onChange: () => this.#showUnseen(0),
    });
    this.#outbox = new Outbox({
      channel,
      path,
      sender: () => ({ id: this.#id, name: options.name() }),
      isMine,
      lastOffset: options.lastOffset,
      publish: options.publish,
      onAnswer: (data) => this.#showAnswer(data),
      onRefused: (text, problem) => this.#composer.takeBack(text, problem),
      onChange: () => this.#showOutbox(),
    });
    this.handlers = {
      onHistory: (messages, isCut) => {
        if (isCut) this.jump.leave();
        this.#list.add(messages);
        if (isCut) scroller.scrollTop = 0;
        else this.#list.scrollToEnd();
        this.#showQuiet();
        if (location.hash.length > 1) void this.jump.toMessage(location.hash.slice(1));
      },
      onLive: (messages) => this.#take(messages),
      // Away from the newest messages it is read on to them.
      onReset: () => !this.jump.isAway && this.#list.clear(),
      onRemoved: (removal) => this.#drop(goneBy(removal), () => this.#list.remove(removal)),
      onGone: (isGone) => this.#drop(isGone, () => this.#list.drop(isGone)),
      onHistoryDenied: () => this.#list.denyOlder(),
      onGap: () => this.#list.addGap(),
      onReady: () => {
        this.#block(undefined);
        this.#setLive(true);
        if (options.takesFocus) this.#composer.focus();
      },
      onNotice: (text) => this.#notify(text, false, false),
      onEnd: (reason, asksForToken) => {
        this.#setLive(false);
        if (asksForToken) this.#block(`Writing here takes ${credentialName}`);
        this.#notify(reason, asksForToken, !asksForToken);
      },
    };
    scroller.addEventListener("scroll", () => this.#noteScroll(), { passive: true });
    this.#more.onclick = () => this.scrollToEnd();
    addEventListener("storage", () => this.#showOutbox());
    find<HTMLButtonElement>("#again").onclick = () => {
      find("#notice").hidden = true;
      options.restart();
    };
    find<HTMLFormElement>("#token").onsubmit = (event) => {
      event.preventDefault();
      useToken(find<HTMLInputElement>("#token input").value);
      location.reload();
    };
    const composer = find<HTMLFormElement>("#composer");
    composer.hidden = false;
    this.#composer = new Composer({
      form: composer,
      problem: find("#problem"),
      draftKey: `raindrops.draft ${channel}`,
      onSend: (text) => this.#send(text),
    });
    this.#showOutbox();
  }

  /** Whether this page, or another one of the same person, sent a message. */
  readonly isMine = ({ author }: ChannelMessage): boolean => this.#isOwn(author);

  /** Says that the connection is gone: what is written from now on waits. */
  pause(): void {
    this.#setLive(false);
  }

  /** Tells screen readers something. */
  announce(text: string): void {
    this.#announcer.say(text);
  }

  /** Shows the newest message. */
  scrollToEnd(): void {
    if (this.jump.isAway) void this.jump.back();
    else this.#list.scrollToEnd();
  }

  #noteScroll(): void {
    if (this.#list.isAtEnd && !this.jump.isAway) this.#showUnseen(0);
  }

  #showQuiet(): void {
    find("#quiet").hidden = this.#list.size > 0;
  }

  /** Takes away what was removed, also of the pages that are on their way. */
  #drop(isGone: IsGone, drop: () => void): void {
    this.#flush();
    this.watch.noteGone(isGone);
    drop();
    this.#showQuiet();
    this.#options.onGone?.(isGone);
  }

  /** Answers why a text may not be sent, if so. */
  #send(text: string): string | undefined {
    const answer = answerLocally(text, this.#options.path);
    if (answer !== undefined) {
      void answer.then((words) => this.#showAnswer(words));
      return undefined;
    }
    const problem = findProblem(text);
    if (problem !== undefined) return problem;
    this.#outbox.add(text);
    this.scrollToEnd();
    return undefined;
  }

  /** Shows what is for this page alone. */
  #showAnswer(data: string): void {
    this.#take([{ ...UNSTORED, channel: this.#options.channel, time: new Date(), data }]);
  }

  /** Lets nothing be sent, looked for or shared, saying why. */
  #block(reason: string | undefined): void {
    this.#composer.block(reason);
    lockControls(reason && `This takes ${credentialName}`);
  }

  #isOwn(author: Author | undefined): boolean {
    if (author === undefined) return false;
    if (this.#options.ownClients?.has(author.id)) return true;
    const user = this.#options.user();
    return author.user === undefined ? author.id === this.#id : author.user === user;
  }

  #setLive(isLive: boolean): void {
    this.#isLive = isLive;
    this.#outbox.setReady(isLive);
    this.#showOutbox();
  }

  /** Gathers what comes within one frame, so that a thousand messages cost one layout. */
  #take(messages: readonly ChannelMessage[]): void {
    this.#waiting.push(...messages);
    for (const { data, author } of messages) {
      // The server is quicker with the message than with its acknowledgement.
      const { sending } = this.#outbox;
      if (sending === undefined || !this.#isOwn(author)) continue;
      if (this.#outbox.list().some(({ key, text }) => key === sending && text === data)) {
        this.#hidden.add(sending);
        this.#showOutbox();
      }
    }
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    if (document.hidden) setTimeout(() => this.#flush(), HIDDEN_PAUSE_MS);
    else requestAnimationFrame(() => this.#flush());
  }

  /** Shows what has come. */
  #flush(): void {
    if (!this.#isScheduled) return;
    this.#isScheduled = false;
    const messages = this.#waiting;
    this.#waiting = [];
    const wasAtEnd = this.#list.isAtEnd && !this.jump.isAway;
    this.watch.noteMessages(messages);
    // What is between is not there: it comes when somebody reads on.
    if (!this.jump.isAway) this.#list.add(messages);
    this.#showQuiet();
    const others = messages.filter(({ author }) => !this.#isOwn(author));
    for (const message of others) {
      const name = message.author && labelOf(message.author);
      this.#announcer.say(name === undefined ? summarize(message) : `${name}: ${summarize(message)}`);
    }
    if (!wasAtEnd) this.#showUnseen(this.#unseen + others.length);
    this.#options.onMessages?.(messages, ({ author }) => this.#isOwn(author));
  }

  #showUnseen(count: number): void {
    this.#unseen = count;
    this.#more.hidden = count === 0 && !this.jump.isAway;
    this.#more.textContent = count === 0
      ? "To the newest messages ↓"
      : count === 1
      ? "1 new message ↓"
      : `${count} new messages ↓`;
  }

  #showOutbox(): void {
    showOutbox(find("#outbox"), this.#outbox, this.#hidden, this.#isLive);
  }

  #notify(text: string, asksForToken: boolean, offersRestart: boolean): void {
    find("#notice").hidden = false;
    find("#notice-text").textContent = text;
    find("#token").hidden = !asksForToken;
    if (asksForToken && takesKey) {
      const input = find<HTMLInputElement>("#token input");
      input.placeholder = "Paste an API key";
      input.ariaLabel = "API key";
    }
    find("#again").hidden = !offersRestart;
  }
}

function find<E extends HTMLElement = HTMLElement>(selector: string): E {
  return document.querySelector<E>(selector)!;
}
