/** Counts what came while nobody looked, in the title of the tab, and notifies whoever asked for it. */
import { recall, remember } from "./remembered.ts";

const NOTIFY = "raindrops.notify";

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
    if (recall(NOTIFY) !== "on" || !mayNotify()) return;
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

/** Makes a button switch notifications on and off. Permission is asked for by its click and never before. */
export function openNotifyButton(button: HTMLButtonElement): void {
  if (typeof Notification === "undefined") return;
  button.hidden = false;
  const show = () => {
    const isOn = recall(NOTIFY) === "on" && mayNotify();
    button.ariaPressed = String(isOn);
    button.title = Notification.permission === "denied"
      ? "Your browser forbids notifications of this site"
      : isOn
      ? "Notifications are on"
      : "Notify me of new messages";
  };
  button.onclick = async () => {
    const turnsOn = button.ariaPressed !== "true";
    if (turnsOn) await Notification.requestPermission();
    remember(NOTIFY, turnsOn && mayNotify() ? "on" : undefined);
    show();
  };
  show();
}

function mayNotify(): boolean {
  return typeof Notification !== "undefined" && Notification.permission === "granted";
}
