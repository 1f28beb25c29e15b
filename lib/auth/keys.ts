/**
 * The keys a token may be signed with, of every source: a shared secret, public keys in PEM, key sets (JWKS) from a
 * file or a URL. The configuration opens them; `tokens.ts` asks which of them may have signed a token.
 */
import {
  type KeyQuery,
  parseKeySet,
  parseKeyUrl,
  parsePem,
  parseSecret,
  selectKeys,
  type VerificationKey,
} from "./key_parsing.ts";
import { type FoundKeys, type KeyOptions, RemoteKeySet } from "./remote_keys.ts";

/** Where keys come from. `text` is the contents of a file, not its path. */
export type KeySource =
  | { readonly kind: "secret"; readonly secret: string }
  | { readonly kind: "pem"; readonly text: string }
  | { readonly kind: "jwks"; readonly text: string }
  | { readonly kind: "jwks_url"; readonly url: string };

/** Verification keys. Disposing them aborts any fetch under way. */
export interface Keys extends Disposable {
  /** What an operator should know about the keys at start. Contains nothing of the keys. */
  readonly warnings: readonly string[];
  /** Never rejects: `unavailable` says why keys could not be fetched. */
  find(query: KeyQuery): Promise<FoundKeys>;
}

/**
 * Opens the keys of every source. A URL is not fetched until a token needs it.
 *
 * @throws {SyntaxError} for a source that is not valid, without quoting it
 */
export function openKeys(sources: readonly KeySource[], options: KeyOptions = {}): Keys {
  const fixed: VerificationKey[] = [];
  const remote: RemoteKeySet[] = [];
  const warnings: string[] = [];
  for (const source of sources) {
    if (source.kind === "secret") fixed.push(parseSecret(source.secret, warnings));
    else if (source.kind === "pem") fixed.push(parsePem(source.text));
    else if (source.kind === "jwks") fixed.push(...parseKeySet(source.text));
    else remote.push(new RemoteKeySet(parseKeyUrl(source.url, warnings), options));
  }
  return {
    warnings,
    async find(query) {
      const found = await Promise.all(remote.map((set) => set.find(query)));
      return {
        keys: [...selectKeys(fixed, query), ...found.flatMap(({ keys }) => keys)],
        unavailable: found.find(({ unavailable }) => unavailable !== undefined)?.unavailable,
      };
    },
    [Symbol.dispose]() {
      for (const set of remote) set[Symbol.dispose]();
    },
  };
}
