/** Drafts and messages with everything filled in that a test does not care about. */
import type { Draft, Message } from "../../lib/core/message.ts";

export function createDraft(text: string, rest: Partial<Draft> = {}): Draft {
  return { channel: "news", payload: { kind: "text", text }, ...rest };
}

export function createMessage(text: string, rest: Partial<Message> = {}): Message {
  return {
    channel: "news",
    payload: { kind: "text", text },
    epoch: "e",
    offset: 0,
    sequence: 0,
    time: Date.UTC(2026, 0, 1),
    event: undefined,
    from: undefined,
    socketId: undefined,
    to: undefined,
    ...rest,
  };
}
