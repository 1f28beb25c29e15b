/** The form below the table, which publishes to one of the channels. */
import type { ChannelMessage } from "../channel_message.ts";
import { readRefusal } from "../history.ts";
import { readId, readName } from "../identity.ts";
import { authorization } from "../token.ts";

const OFFERED_CHANNELS = 50;

interface PublishOptions {
  readonly form: HTMLFormElement;
  /** Where the channels that are offered go. */
  readonly channels: HTMLElement;
  readonly problem: HTMLElement;
  readonly sent: HTMLElement;
  /** What this page reads. */
  readonly patterns: readonly string[];
}

/** The path of a channel as browsers send it. */
export function toPath(channel: string): string {
  return `/${encodeURI(channel).replaceAll("#", "%23").replaceAll("?", "%3F").replaceAll(",", "%2C")}`;
}

/** Whether a channel is one of those that patterns select: `*` is one segment, a last `**` all that follow. */
export function isSelected(channel: string, patterns: readonly string[]): boolean {
  const segments = channel.split("/");
  return patterns.map((pattern) => pattern.split("/")).some((pattern) => {
    const isOpen = pattern.at(-1) === "**";
    if (isOpen ? segments.length < pattern.length : segments.length !== pattern.length) return false;
    return pattern.every((part, i) => part === "*" || part === "**" || part === segments[i]);
  });
}

/** Makes the form work. Returns what offers the channels of messages. */
export function openPublish(
  { form, channels, problem, sent, patterns }: PublishOptions,
): { offer(messages: readonly ChannelMessage[]): void } {
  const to = form.querySelector<HTMLInputElement>("#to")!;
  const box = form.querySelector<HTMLTextAreaElement>("#box")!;
  const button = form.querySelector("button")!;
  const known = new Set<string>();
  const offer = (channel: string) => {
    if (known.has(channel) || known.size >= OFFERED_CHANNELS) return;
    known.add(channel);
    const option = document.createElement("option");
    option.value = channel;
    channels.append(option);
    if (to.value === "" && document.activeElement !== to) to.value = channel;
  };
  for (const pattern of patterns) if (!pattern.includes("*")) offer(pattern);

  const publish = async () => {
    const channel = to.value.trim().replaceAll(/^\/+|\/+$/g, "").normalize("NFC");
    problem.textContent = sent.textContent = "";
    if (!isSelected(channel, patterns)) {
      problem.textContent = `${channel} is not one of the channels of this page: ${patterns.join(", ")}`;
      return to.focus();
    }
    button.disabled = true;
    try {
      const query = new URLSearchParams({ id: readId(), name: readName() });
      const post = (search: string) =>
        fetch(toPath(channel) + search, {
          method: "POST",
          body: box.value,
          headers: {
            accept: "application/json",
            "content-type": "text/plain; charset=utf-8",
            ...authorization(),
          },
        });
      let response = await post(`?${query}`);
      // Where credentials are checked, names come from them alone.
      if (response.status === 400 || response.status === 403) {
        await response.body?.cancel();
        response = await post("");
      }
      if (!response.ok) throw await readRefusal(response);
      const { subscribers } = await response.json();
      box.value = "";
      sent.textContent = `Sent to ${channel}, ${subscribers} ${
        subscribers === 1 ? "subscriber" : "subscribers"
      }.`;
      box.focus();
    } catch (error) {
      problem.textContent = `Not sent: ${error instanceof Error ? error.message : String(error)}`;
    } finally {
      button.disabled = false;
    }
  };
  form.onsubmit = (event) => {
    event.preventDefault();
    void publish();
  };
  box.onkeydown = (event) => {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
    event.preventDefault();
    form.requestSubmit();
  };
  return { offer: (messages) => messages.forEach(({ channel }) => offer(channel)) };
}
