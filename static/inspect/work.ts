/** What the server does by itself: webhooks, which can be paused and sent again, and messages for later. */
import { ask, read, repeat } from "./connection.ts";
import { create, find, Rows, setText } from "./elements.ts";
import { formatBytes, formatCount, formatDuration } from "./format.ts";

interface WebhookRow {
  readonly name: string;
  readonly url: string;
  readonly sends: boolean;
  /** The name of the node that sends, whose numbers these are; left out where it is not known. */
  readonly sender?: string;
  readonly paused: boolean;
  readonly waiting: number;
  readonly oldestSeconds: number;
  readonly delivered: number;
  readonly failures: number;
  readonly failure?: string;
}

interface ScheduledRow {
  readonly id: string;
  readonly channel: string;
  readonly at: string;
  readonly bytes: number;
  readonly failure?: string;
}

const RENEW_MILLISECONDS = 2_000;
const MOMENT = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium" });

/** Opens both tables, which are shown where there is something in them. */
export function openWork(): void {
  openWebhooks();
  openScheduled();
}

function openWebhooks(): void {
  const paused = new Map<string, boolean>();
  const result = find("webhook-result");
  const toggle = async (name: string) => {
    const pauses = paused.get(name) !== true;
    await tell(result, pauses ? `${name} is paused.` : `${name} goes on.`, "pause", {
      name,
      paused: String(pauses),
    });
    await renew().catch(() => {});
  };
  const rows = new Rows<WebhookRow>(
    find("webhook-rows"),
    ({ name }) => name,
    ({ name, url }) => {
      const head = create("th", "", name);
      head.scope = "row";
      head.title = url;
      const numbers = Array.from({ length: 4 }, () => create("td", "number"));
      const buttons = create(
        "td",
        "",
        createButton("Pause", () => toggle(name)),
        createButton("Send again", () => askFrom(name)),
      );
      return [head, create("td", ""), ...numbers, buttons];
    },
    (row, [, state, ...cells]) => {
      paused.set(row.name, row.paused);
      setText(state!, describeState(row));
      const oldest = row.waiting === 0 ? "" : formatDuration(row.oldestSeconds);
      const texts = [formatCount(row.waiting), oldest, formatCount(row.delivered), formatCount(row.failures)];
      const isKnown = row.sender !== undefined;
      texts.forEach((text, i) => setText(cells[i]!, isKnown ? text : ""));
      setText(cells.at(-1)!.firstElementChild!, row.paused ? "Go on" : "Pause");
    },
  );
  const renew = async () => {
    const { webhooks } = await read<{ webhooks: WebhookRow[] }>("webhooks");
    find("webhooks").hidden = webhooks.length === 0;
    rows.show(webhooks, "");
  };
  repeat(RENEW_MILLISECONDS, renew);
}

function describeState({ sends, sender, paused, failure }: WebhookRow): string {
  if (paused) return "Paused";
  if (sender === undefined) return "Another node sends it";
  if (failure !== undefined) return sends ? `Fails: ${failure}` : `Fails at ${sender}: ${failure}`;
  return sends ? "Sends" : `${sender} sends it`;
}

/** Asks from where a webhook is to be sent again. */
function askFrom(name: string): void {
  const dialog = find<HTMLDialogElement>("resend");
  const from = find<HTMLInputElement>("resend-from");
  setText(find("resend-title"), `Send ${name} again`);
  setText(find("resend-result"), "");
  find("resend-close").onclick = () => dialog.close();
  find("resend-form").onsubmit = async (event) => {
    event.preventDefault();
    const query = { name, from: from.value.trim() };
    if (await tell(find("resend-result"), "", "resend", query)) {
      setText(find("webhook-result"), `${name} is sent again from ${query.from}.`);
      dialog.close();
    }
  };
  dialog.showModal();
}

function openScheduled(): void {
  const count = find("scheduled-count");
  const cancel = async (id: string) => {
    await tell(count, `${id} is cancelled.`, "cancel", { id });
    await renew().catch(() => {});
  };
  const rows = new Rows<ScheduledRow>(
    find("scheduled-rows"),
    ({ id }) => id,
    ({ id, channel }) => {
      const head = create("th", "", id);
      head.scope = "row";
      return [
        head,
        create("td", "", channel),
        create("td", ""),
        create("td", "number"),
        create("td", "", createButton("Cancel", () => cancel(id))),
      ];
    },
    ({ at, bytes, failure }, [, , due, size]) => {
      setText(due!, MOMENT.format(new Date(at)) + (failure === undefined ? "" : `, fails: ${failure}`));
      setText(size!, formatBytes(bytes));
    },
  );
  let shown = 0;
  const renew = async () => {
    const { rows: found, total } = await read<{ rows: ScheduledRow[]; total: number }>("scheduled");
    find("scheduled").hidden = total === 0;
    rows.show(found, "");
    if (total !== shown) setText(count, `${formatCount(total)} ${total === 1 ? "message" : "messages"}`);
    shown = total;
  };
  repeat(RENEW_MILLISECONDS, renew);
}

function createButton(text: string, onClick: () => void): HTMLButtonElement {
  const button = create("button", "quiet", text);
  button.type = "button";
  button.onclick = onClick;
  return button;
}

/** Tells the server something, and the reader what came of it. */
async function tell(
  result: HTMLElement,
  done: string,
  action: string,
  query: Readonly<Record<string, string>>,
): Promise<boolean> {
  try {
    await ask(`/_inspect/${action}?${new URLSearchParams(query)}`, { method: "POST" });
    setText(result, done);
    return true;
  } catch (error) {
    setText(result, error instanceof Error ? error.message : String(error));
    return false;
  }
}
