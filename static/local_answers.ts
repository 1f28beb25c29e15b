/**
 * Answers `/who`, `/time` and `/help` for whoever writes them into the box: plain WebSockets get the same answers from the
 * server, and nobody else sees them.
 */
import { authorization } from "./token.ts";

const MAX_NAMES = 100;

const HELP = `/who: the names on this channel
/time: this computer's time
/help: this list`;

interface PresenceJson {
  readonly clients: number;
  readonly members: readonly { readonly id: string; readonly name?: string }[];
}

/** The answer to a text; undefined for one that is a message. */
export function answerLocally(text: string, path: string): Promise<string> | undefined {
  switch (text.trim()) {
    case "/who":
      return describeMembers(path);
    case "/time":
      return Promise.resolve(new Date().toISOString());
    case "/help":
      return Promise.resolve(HELP);
    default:
      return undefined;
  }
}

async function describeMembers(path: string): Promise<string> {
  try {
    const response = await fetch(`${path}?presence`, {
      headers: { accept: "application/json", ...authorization() },
      cache: "no-store",
    });
    if (!response.ok) return "Who is here is not shown on this channel.";
    const { members }: PresenceJson = await response.json();
    const names = members.slice(0, MAX_NAMES).map(({ id, name }) => name ?? id).join(", ");
    return members.length > MAX_NAMES ? `${names} and ${members.length - MAX_NAMES} more` : names;
  } catch {
    return "The server cannot be reached just now.";
  }
}
