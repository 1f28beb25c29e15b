/** Counts what came while nobody looked, in the title of the tab, and notifies whoever asked for it. */
import type { Push } from "./push.ts";
import { recall, remember } from "./remembered.ts";

const NOTIFY = "raindrops.notify";

/** What is pushed is shown by the service worker. */
let push: Push | undefined;

export class Unread {
  readonly #title = document.title;
  readonly #channel: string;
  #count = 0;

  constructor(channel: string) {
    this.#channel = channel;
    document.addEventListener("visibilitychange", () => !document.hidden && this.#set(0));
  }

  /** Takes note of messages of others; `text` is the newest. */
  add(count: number, text: string): void {
    if (!document.hidden) return;
    this.#set(this.#count + count);
    if (push?.isOn || recall(NOTIFY) !== "on" || !mayNotify()) return;
    const body = this.#count > 1 ? `${this.#count} new messages. ${text}` : text;
    try {
      // One tag, one notification: the next one takes its place.
      const notification = new Notification(this.#channel, { body: body.slice(0, 200), tag: this.#channel });
      notification.onclick = () => {
        focus();
        notification.close();
      };
    } catch {
      // Some browsers for phones have the class and forbid its use.
    }
  }

  #set(count: number): void {
    this.#count = count;
    document.title = count === 0 ? this.#title : `(${count > 999 ? "999+" : count}) ${this.#title}`;
  }
}

/**
 * Makes a button switch notifications on and off. Permission is asked for by its click and never before.
 *
 * @param finding the pushes of the channel, where there may be any: they come to this page when it is closed, too
 */
export function openNotifyButton(
  button: HTMLButtonElement,
  finding: Promise<Push | undefined>,
  onProblem: (text: string) => void,
): void {
  if (typeof Notification === "undefined") return;
  button.hidden = false;
  const show = () => {
    const isPushed = push?.isOn === true;
    // Where pushes are offered, the button is about them.
    const isOn = isPushed || (push === undefined && recall(NOTIFY) === "on" && mayNotify());
    button.ariaPressed = String(isOn);
    button.title = Notification.permission === "denied"
      ? "Your browser forbids notifications of this site"
      : isPushed
      ? "Notifications are on, also while this page is closed"
      : isOn
      ? "Notifications are on"
      : "Notify me of new messages";
  };
  button.onclick = async () => {
    const turnsOn = button.ariaPressed !== "true";
    if (turnsOn) await Notification.requestPermission();
    const isOn = turnsOn && mayNotify();
    try {
      await push?.turn(isOn);
    } catch (error) {
      // This page can notify as long as it is open.
      push = undefined;
      onProblem(
        `No notifications while this page is closed: ${error instanceof Error ? error.message : error}`,
      );
    }
    if (push === undefined) remember(NOTIFY, isOn ? "on" : undefined);
    show();
  };
  show();
  void finding.then((found) => {
    push = found;
    show();
  });
}

function mayNotify(): boolean {
  return typeof Notification !== "undefined" && Notification.permission === "granted";
}
