/** What was refused or went wrong, newest first, each with its reason. */
import { create, find, setText } from "./elements.ts";
import { formatCount, formatTime } from "./format.ts";

export interface Refusal {
  readonly number: number;
  readonly time: number;
  readonly reason: string;
  readonly what?: string;
  readonly message?: string;
  readonly client?: string;
  readonly address?: string;
}

const KEPT = 100;

/** Adds what is new, and says how often each reason came up. */
export function showRefusals(
  refusals: readonly Refusal[],
  missed: number,
  totals: Readonly<Record<string, number>>,
): void {
  const list = find("refusals");
  if (missed > 0) list.prepend(create("li", "missed", `${formatCount(missed)} more in the same second`));
  for (const refusal of refusals) list.prepend(createLine(refusal));
  while (list.children.length > KEPT) list.lastElementChild!.remove();
  const counts = Object.entries(totals).sort(([, a], [, b]) => b - a);
  const words = counts.map(([reason, count]) => `${formatCount(count)} ${reason}`);
  setText(
    find("refusal-count"),
    words.length === 0 ? "Nothing was refused so far." : `In all: ${words.join(", ")}`,
  );
}

function createLine({ time, reason, what, message, client, address }: Refusal): HTMLLIElement {
  const moment = create("time", "", formatTime(time));
  moment.dateTime = new Date(time).toISOString();
  const who = [client, address].filter((text) => text !== undefined).join(" at ");
  return create(
    "li",
    reason === "internal" ? "error" : "",
    moment,
    create("strong", "", reason),
    create("span", "text", [what, message].filter((text) => text !== undefined).join(": ")),
    create("bdi", "", who),
  );
}
