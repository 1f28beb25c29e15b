/** The desk for tokens: makes one, and shows check by check what the server thinks of one. */
import { createCopyButton } from "../command.ts";
import { ask, read } from "./connection.ts";
import { create, find, setText } from "./elements.ts";

interface Explanation {
  readonly header?: unknown;
  readonly payload?: unknown;
  readonly checks: readonly { readonly name: string; readonly passed: boolean; readonly detail: string }[];
  readonly purpose: readonly string[];
  readonly decisions: readonly {
    readonly action: string;
    readonly allowed: boolean;
    readonly reason: string;
  }[];
  readonly verdict: { readonly accepted: boolean; readonly reason: string };
}

/** Opens both forms, where tokens are checked at all. */
export async function openTokens(): Promise<void> {
  const { checks, makes } = await read<{ checks: boolean; makes: boolean }>("tokens");
  find("tokens").hidden = !checks;
  find("token-elsewhere").hidden = makes;
  find("token-fields").hidden = !makes;
  openMaking();
  openExplaining();
}

function openMaking(): void {
  const form = find<HTMLFormElement>("token-make");
  const made = find("token-made");
  const code = made.querySelector("code")!;
  code.after(createCopyButton(code));
  form.onsubmit = async (event) => {
    event.preventDefault();
    made.hidden = true;
    setText(find("token-problem"), "");
    try {
      const { token } = await send<{ token: string }>("token", form);
      setText(code, token);
      made.hidden = false;
    } catch (error) {
      setText(find("token-problem"), describe(error));
    }
  };
}

function openExplaining(): void {
  const form = find<HTMLFormElement>("token-explain");
  const result = find("token-result");
  form.onsubmit = async (event) => {
    event.preventDefault();
    try {
      result.replaceChildren(...showExplanation(await send<Explanation>("explain", form)));
    } catch (error) {
      result.replaceChildren(create("p", "problem", describe(error)));
    }
  };
}

function showExplanation(
  { header, payload, checks, purpose, decisions, verdict }: Explanation,
): HTMLElement[] {
  const words = verdict.accepted ? "The server takes it." : `The server refuses it: ${verdict.reason}.`;
  const parts: HTMLElement[] = [create("p", verdict.accepted ? "verdict good" : "verdict bad", words)];
  parts.push(createList(checks.map(({ name, passed, detail }) => [passed, name, detail])));
  for (const sentence of purpose) parts.push(create("p", "", sentence));
  if (decisions.length > 0) {
    parts.push(createList(decisions.map(({ action, allowed, reason }) => [allowed, action, reason])));
  }
  if (payload !== undefined) {
    const json = create("pre", "", JSON.stringify({ header, claims: payload }, undefined, 2));
    json.tabIndex = 0;
    json.role = "group";
    json.ariaLabel = "Header and claims";
    parts.push(create("details", "", create("summary", "", "Header and claims, as they are"), json));
  }
  return parts;
}

function createList(
  rows: readonly (readonly [isGood: boolean, name: string, detail: string])[],
): HTMLElement {
  return create(
    "ul",
    "checks",
    ...rows.map(([isGood, name, detail]) => {
      const mark = create("strong", isGood ? "good" : "bad", isGood ? "yes" : "no");
      return create("li", "", mark, create("b", "", name), create("span", "", detail));
    }),
  );
}

async function send<T>(name: string, form: HTMLFormElement): Promise<T> {
  const body = JSON.stringify(Object.fromEntries(new FormData(form)));
  const headers = { "content-type": "application/json" };
  return await (await ask(`/_inspect/${name}`, { method: "POST", body, headers })).json();
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
