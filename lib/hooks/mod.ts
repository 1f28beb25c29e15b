/**
 * Your application in the loop: webhooks tell it what happens, callouts ask it what may. `app.ts` opens both, `config/`
 * reads their settings.
 */
import { parseJsonFile } from "../base/json_file.ts";
import { type CalloutsDefinition, parseCallouts } from "./callout_file.ts";
import { isRecord, refuseUnknown } from "./fields.ts";
import {
  createMessageWebhook,
  demandUniqueNames,
  parseWebhook,
  type WebhookDefinition,
} from "./webhook_file.ts";

export { HOOKS_SETTINGS } from "./settings.ts";
export { openCallouts } from "./callouts.ts";
export { openWebhooks, type Webhooks } from "./webhooks.ts";

/** What the `--hooks` file and the environment say together. */
export interface Hooks {
  readonly webhooks: readonly WebhookDefinition[];
  readonly callouts: CalloutsDefinition | undefined;
}

export interface HooksSources {
  /** The text of the `--hooks` file. */
  readonly file?: string | undefined;
  readonly webhookUrl?: string | undefined;
  readonly webhookSecret?: string | undefined;
}

/**
 * Reads the file, `{ "webhooks": [...], "callouts": {...} }` or the webhooks alone, and the webhook of the environment.
 *
 * @throws {SyntaxError} naming what is wrong and what to write instead
 */
export function parseHooks({ file, webhookUrl, webhookSecret }: HooksSources): Hooks {
  const { entries, callouts } = file === undefined ? NOTHING : readFile(parseJsonFile(file));
  const webhooks = entries.map((entry, i) => parseWebhook(entry, i + 1));
  if (webhookUrl !== undefined && webhookSecret !== undefined) {
    webhooks.push(createMessageWebhook(webhookUrl, webhookSecret));
  } else if (webhookUrl !== undefined || webhookSecret !== undefined) {
    throw new SyntaxError(
      "RAINDROPS_WEBHOOK_URL and RAINDROPS_WEBHOOK_SECRET need each other: set both, or neither",
    );
  }
  demandUniqueNames(webhooks);
  return { webhooks, callouts: callouts === undefined ? undefined : parseCallouts(callouts) };
}

/** The parts of the file, unread. */
interface Parts {
  readonly entries: readonly unknown[];
  readonly callouts?: unknown;
}

const NOTHING: Parts = { entries: [] };

function readFile(value: unknown): Parts {
  if (Array.isArray(value)) return { entries: value };
  if (!isRecord(value)) throw new SyntaxError('it must be an object with "webhooks" or "callouts"');
  if ("url" in value) return { entries: [value] };
  refuseUnknown(value, ["webhooks", "callouts"], "the file");
  const { webhooks = [], callouts } = value;
  if (!Array.isArray(webhooks)) throw new SyntaxError('"webhooks" must be an array');
  return { entries: webhooks, callouts };
}
