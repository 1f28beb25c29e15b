/** What was refused or went wrong, newest first, equal ones in one line. */
import { create, createText, find, setText } from "./elements.ts";
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

/** Lines kept. */
const KEPT = 100;

/** Equal refusals, in one line. */
interface Line {
  readonly element: HTMLElement;
  readonly time: HTMLTimeElement;
  readonly times: HTMLElement;
  readonly who: HTMLElement;
  /** Of whom they were, as far as is known. */
  readonly sources: Set<string>;
  count: number;
}

/** By what was refused and why, the newest last. */
const lines = new Map<string, Line>();

/** Adds what is new, and says how often each reason came up. */
export function showRefusals(
  refusals: readonly Refusal[],
  missed: number,
  totals: Readonly<Record<string, number>>,
): void {
  const list = find("refusals");
  for (const missing of list.querySelectorAll(".missed")) if (missed > 0) missing.remove();
  for (const refusal of refusals) add(list, refusal);
  if (missed > 0) list.prepend(create("li", "missed", `${formatCount(missed)} more in the same second`));
  for (const [key, { element }] of lines) {
    if (lines.size <= KEPT) break;
    element.remove();
    lines.delete(key);
  }
  const counts = Object.entries(totals).sort(([, a], [, b]) => b - a);
  const words = counts.map(([reason, count]) => `${formatCount(count)} ${reason}`);
  setText(
    find("refusal-count"),
    words.length === 0 ? "Nothing was refused so far." : `In all: ${words.join(", ")}`,
  );
}

function add(list: HTMLElement, refusal: Refusal): void {
  const { time, reason, what, message, client, address } = refusal;
  const key = JSON.stringify([reason, what, message]);
  const line = lines.get(key) ?? createLine(refusal);
  lines.delete(key);
  lines.set(key, line);
  line.count++;
  const who = [client, address].filter((text) => text !== undefined).join(" at ");
  if (who !== "") line.sources.add(who);
  setText(line.time, formatTime(time));
  line.time.dateTime = new Date(time).toISOString();
  setText(line.times, line.count === 1 ? "" : `${formatCount(line.count)} times`);
  setText(line.who, line.sources.size > 1 ? `${who} and ${formatCount(line.sources.size - 1)} more` : who);
  if (list.firstElementChild !== line.element) list.prepend(line.element);
}

function createLine({ reason, what, message }: Refusal): Line {
  const parts = {
    time: create("time", ""),
    times: create("strong", "times"),
    who: create("bdi", ""),
  };
  const element = create(
    "li",
    reason === "internal" ? "error" : "",
    parts.time,
    create("strong", "", reason),
    createText([what, message].filter((text) => text !== undefined).join(": ")),
    parts.times,
    parts.who,
  );
  return { ...parts, element, sources: new Set(), count: 0 };
}
