/** Webhooks: your application is told what happens. `app.ts` opens them, `config/` reads their settings. */
import { isRecord, refuseUnknown } from "./fields.ts";
import {
  createMessageWebhook,
  demandUniqueNames,
  parseWebhook,
  type WebhookDefinition,
} from "./webhook_file.ts";

export { HOOKS_SETTINGS } from "./settings.ts";
export { openWebhooks, type Webhooks } from "./webhooks.ts";

/** What the `--hooks` file and the environment say together. */
export interface Hooks {
  readonly webhooks: readonly WebhookDefinition[];
}

export interface HooksSources {
  /** The text of the `--hooks` file. */
  readonly file?: string | undefined;
  readonly webhookUrl?: string | undefined;
  readonly webhookSecret?: string | undefined;
}

/**
 * Reads the file, `{ "webhooks": [...] }` or the webhooks alone, and the webhook of the environment.
 *
 * @throws {SyntaxError} naming what is wrong and what to write instead
 */
export async function parseHooks({ file, webhookUrl, webhookSecret }: HooksSources): Promise<Hooks> {
  const entries = file === undefined ? [] : readEntries(parseJson(file));
  const webhooks = await Promise.all(entries.map((entry, i) => parseWebhook(entry, i + 1)));
  if (webhookUrl !== undefined && webhookSecret !== undefined) {
    webhooks.push(await createMessageWebhook(webhookUrl, webhookSecret));
  } else if (webhookUrl !== undefined || webhookSecret !== undefined) {
    throw new SyntaxError(
      "RAINDROPS_WEBHOOK_URL and RAINDROPS_WEBHOOK_SECRET need each other: set both, or neither",
    );
  }
  demandUniqueNames(webhooks);
  return { webhooks };
}

function readEntries(value: unknown): readonly unknown[] {
  if (Array.isArray(value)) return value;
  if (!isRecord(value)) throw new SyntaxError('it must be an object with "webhooks", or an array of them');
  if ("url" in value) return [value];
  refuseUnknown(value, ["webhooks"], "the file");
  const { webhooks = [] } = value;
  if (!Array.isArray(webhooks)) throw new SyntaxError('"webhooks" must be an array');
  return webhooks;
}

/** The error does not repeat the text, which holds secrets. */
function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    const [, at] = /at position (\d+)/.exec(error instanceof Error ? error.message : "") ?? [];
    const line = at === undefined ? undefined : text.slice(0, Number(at)).split("\n").length;
    throw new SyntaxError(`it is not JSON${line === undefined ? "" : `: see line ${line}`}`);
  }
}
