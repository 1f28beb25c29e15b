/** The texts a plain socket gets an answer to, for its eyes only. To teach the server another one, add a line. */
import type { MessagingError } from "../../core/errors.ts";
import type { Hub } from "../../core/hub.ts";

/** Who asks, and where. */
export interface ReplyContext {
  readonly hub: Hub;
  /** The one channel the socket is on, if it is on one. */
  readonly channel: string | undefined;
  /** Why it may not know who is there, if it may not. */
  readonly denyPresence: () => MessagingError | undefined;
}

export interface Reply {
  /** Whether the text also goes to everyone else, like any other. */
  readonly passedOn: boolean;
  /** Whether it tells who is there, which other threads may not have told yet. */
  readonly isPresence: boolean;
  readonly help: string;
  answer(context: ReplyContext): string;
}

/** Longest list of names `/who` answers with. */
const MAX_NAMES = 100;

const REPLIES: ReadonlyMap<string, Reply> = new Map<string, Reply>([
  ["Hello", { passedOn: true, isPresence: false, help: "World!", answer: () => "World!" }],
  ["/who", { passedOn: false, isPresence: true, help: "the names on this channel", answer: describeMembers }],
  ["/time", {
    passedOn: false,
    isPresence: false,
    help: "the server's time",
    answer: () => new Date().toISOString(),
  }],
  ["/help", { passedOn: false, isPresence: false, help: "this list", answer: describeReplies }],
]);

const LONGEST_TEXT = Math.max(...[...REPLIES.keys()].map((text) => text.length));

/** The answer to a text, if it has one. */
export function findReply(text: string): Reply | undefined {
  // Looking a text up hashes it: that is a tenth of the work for a message which is longer than all of these.
  return text.length > LONGEST_TEXT ? undefined : REPLIES.get(text);
}

function describeMembers({ hub, channel, denyPresence }: ReplyContext): string {
  if (channel === undefined) return "You are reading several channels: open one of them to ask who is there.";
  const denial = denyPresence();
  if (denial !== undefined) return denial.message;
  const members = hub.presence.list(channel);
  const names = members.slice(0, MAX_NAMES).map((member) => member.name ?? member.id).join(", ");
  const others = members.length - MAX_NAMES;
  return others > 0 ? `${names} and ${others} more` : names;
}

function describeReplies(): string {
  return [...REPLIES].map(([text, reply]) => `${text}: ${reply.help}`).join("\n");
}
