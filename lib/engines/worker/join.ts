/** What a worker asks of the engine in one turn, in few messages, as each one wakes two threads. */
import { type Ask, contentLength, encodeDrafts, type IdentifiedDraft } from "./wire.ts";

/** What is asked. */
export type Item = Ask | IdentifiedDraft;

/** Characters or bytes of content that go together at most, by far less than the longest string there may be. */
const MAX_JOINED_LENGTH = 16 * 1024 * 1024;

/** Joins drafts that follow each other. The order stays. */
export function joinDrafts(items: readonly Item[]): Ask[] {
  const asks: Ask[] = [];
  let drafts: IdentifiedDraft[] = [];
  let size = 0;
  const join = () => {
    if (drafts.length > 0) asks.push(["append", encodeDrafts(drafts)]);
    drafts = [];
    size = 0;
  };
  for (const item of items) {
    if ("draft" in item) {
      drafts.push(item);
      size += contentLength(item.draft.payload);
      if (size > MAX_JOINED_LENGTH) join();
    } else {
      join();
      asks.push(item);
    }
  }
  join();
  return asks;
}
