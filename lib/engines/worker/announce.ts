/** Tells each worker of a batch what it wants of it. The thread of the engine calls it. */
import type { Message } from "../../core/message.ts";
import type { AttachedWorker } from "./attached_worker.ts";
import { findPlaces, type Places } from "./interest.ts";
import { encodeMessages, sizeOf, type WireMessages } from "./wire.ts";

/** Tells workers of messages that were stored, those that want any, in order. */
export function announce(messages: readonly Message[], workers: Iterable<AttachedWorker>): void {
  const places = findAllPlaces(messages);
  /** What was encoded, by which messages those are: mostly all workers want the same. */
  const encodings = new Map<string, WireMessages>();
  for (const worker of workers) {
    const wanted: number[] = [];
    for (let i = 0; i < messages.length; i++) {
      const place = places[i];
      if (place === undefined || worker.wants(place)) wanted.push(i);
    }
    if (wanted.length === 0) continue;
    const isAll = wanted.length === messages.length;
    const key = isAll ? "all" : wanted.join();
    let encoded = encodings.get(key);
    if (encoded === undefined) {
      encoded = encodeMessages(isAll ? messages : wanted.map((i) => messages[i]!));
      encodings.set(key, encoded);
    }
    worker.tell(["stored", encoded], sizeOf(encoded));
  }
}

/** Where each message may be wanted; undefined for one that every node keeps, by its key or as the retained one. */
function findAllPlaces(messages: readonly Message[]): readonly (Places | undefined)[] {
  let channel: string | undefined;
  let places: Places | undefined;
  return messages.map((message) => {
    if (message.properties?.key !== undefined || message.properties?.retain === true) return undefined;
    if (message.channel === channel) return places;
    channel = message.channel;
    return places = findPlaces(channel);
  });
}
