/** Files that are not sent yet, kept in this browser across reloads. Attachments use it. */

const DATABASE = "raindrops";
const STORE = "files";

/** A file on its way to a channel. */
export interface KeptFile {
  readonly key: string;
  /** The path of the channel it goes to. */
  readonly path: string;
  readonly file: File;
  /** When it was picked, in milliseconds of the epoch. */
  readonly addedAt: number;
  /** When it was first sent. */
  readonly sentAt?: number;
}

/** Keeps a file. Answers whether that worked: storage may be forbidden or full. */
export async function keepFile(file: KeptFile): Promise<boolean> {
  return await use("readwrite", (store) => store.put(file)) !== undefined;
}

export async function forgetFile(key: string): Promise<void> {
  await use("readwrite", (store) => store.delete(key));
}

/** Whether a file is still kept: another page of the same channel may have sent it. */
export async function isKept(key: string): Promise<boolean> {
  return await use("readonly", (store) => store.count(key)) === 1;
}

/** The files that are kept for a channel, the oldest first. */
export async function listFiles(path: string): Promise<KeptFile[]> {
  const all = await use<KeptFile[]>("readonly", (store) => store.getAll()) ?? [];
  return all.filter((kept) => kept.path === path).sort((a, b) => a.addedAt - b.addedAt);
}

/** The result of one request to the store; undefined where there is no storage. */
async function use<T>(
  mode: IDBTransactionMode,
  ask: (store: IDBObjectStore) => IDBRequest<T>,
): Promise<T | undefined> {
  try {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE, { keyPath: "key" });
    const database = await settle(opening);
    try {
      return await settle(ask(database.transaction(STORE, mode).objectStore(STORE)));
    } finally {
      database.close();
    }
  } catch {
    return undefined;
  }
}

function settle<T>(request: IDBRequest<T>): Promise<T> {
  return new Promise((resolve, reject) => {
    request.onsuccess = () => resolve(request.result);
    request.onerror = () => reject(request.error);
  });
}
