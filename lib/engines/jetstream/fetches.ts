/** Fetches the contents of records from the server, few at once, for the reader of the JetStream engine. */
import { Slots } from "../../base/slots.ts";
import type { Content } from "./record.ts";

/** Fetches the contents of a record from the server; undefined if it was purged. */
export type FetchRecord = (record: number) => Promise<readonly Content[] | undefined>;

/**
 * Records on their way at once, for all readers. As many as arrive together are decoded in one turn of the event loop:
 * with a mebibyte each, more would hold up everybody else.
 */
const MAX_RECORDS = 16;

/** Fetches each record once, however many readers ask for it meanwhile, and records in the order they were asked for. */
export class RecordFetches {
  readonly #fetch: FetchRecord;
  readonly #fetching = new Map<number, Promise<readonly Content[] | undefined>>();
  readonly #slots = new Slots(MAX_RECORDS);

  constructor(fetch: FetchRecord) {
    this.#fetch = fetch;
  }

  /** @throws what the fetch throws */
  get(record: number): Promise<readonly Content[] | undefined> {
    let fetching = this.#fetching.get(record);
    if (fetching === undefined) {
      fetching = this.#slots.run(() => this.#fetch(record)).finally(() => this.#fetching.delete(record));
      this.#fetching.set(record, fetching);
    }
    return fetching;
  }
}
