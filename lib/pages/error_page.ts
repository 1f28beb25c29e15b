/** Shows a problem as a page: what was wrong, what may have been meant, the way home. `pages.ts` fills the template. */
import { encodeHtml } from "./html.ts";
import { suggestChannel, toChannelPath } from "./suggestion.ts";

/** A problem as programs get it (RFC 9457). */
export interface Problem {
  readonly type: string;
  readonly title: string;
  readonly status: number;
  readonly detail: string;
}

/** Titles in a person's words, where the problem's own are for programs. */
const TITLES: Readonly<Record<string, string>> = {
  "urn:raindrops:bad_channel": "No channel can have this name",
  "urn:raindrops:name_too_long": "This name is too long",
  "urn:raindrops:not_found": "There is nothing here",
  "urn:raindrops:method_not_allowed": "This address is for programs",
  "urn:raindrops:unauthorized": "This takes a key or a token",
};

const ABOUT_NAMES = ["urn:raindrops:bad_channel", "urn:raindrops:name_too_long"];

/** What goes into the slots of `error.html`. */
export function describeProblem(url: string, problem: Problem): Record<string, string> {
  const { type, title, status, detail } = problem;
  const name = ABOUT_NAMES.includes(type) ? suggestFor(url) : undefined;
  const suggestion = name === undefined
    ? ""
    : `<p class="suggestion">Did you mean <a href="${encodeHtml(toChannelPath(name))}">${
      encodeHtml(name)
    }</a>?</p>`;
  return {
    title: encodeHtml(TITLES[type] ?? title),
    detail: encodeHtml(/[.?!]$/.test(detail) ? detail : `${detail}.`),
    suggestion,
    status: String(status),
    problem: encodeHtml(JSON.stringify(problem, undefined, 2)),
  };
}

function suggestFor(url: string): string | undefined {
  const name = new URL(url).pathname.slice(1);
  try {
    return suggestChannel(decodeURIComponent(name));
  } catch {
    return suggestChannel(name);
  }
}
