/** The stored messages of channels as a file to save, `?export=ndjson` or `?export=csv`: read page by page as it is taken. */
import { nextSlice } from "../../base/slices.ts";
import type { Hub } from "../../core/hub.ts";
import type { Cursor } from "../../core/log.ts";
import type { Connection } from "../../core/limits.ts";
import { formatSelector } from "../../core/channel.ts";
import {
  encodeMessageJson,
  encodePayloadJson,
  formatId,
  formatTime,
  type Message,
} from "../../core/message.ts";
import { streamHeaders } from "../../http/stream.ts";
import type { ExportFormat } from "./export_format.ts";
import { matchesFilter } from "./filter.ts";
import type { ReadOptions } from "./read_request.ts";

const PAGE_MESSAGES = 256;
const PAGE_BYTES = 256 * 1024;

/**
 * What spreadsheets take for the beginning of a formula, some behind spaces or in the full width of East Asian keyboards
 * (https://owasp.org/www-community/attacks/CSV_Injection).
 */
const FORMULA = /^(?:[\t\r\n]|\s*[=+\-@\uff1d\uff0b\uff0d\uff20])/;

const COLUMNS = ["channel", "id", "offset", "time", "event", "from_id", "from_name", "from_user", "data"];

const FORMATS: Readonly<
  Record<ExportFormat, { readonly type: string; readonly head: string; encode(message: Message): string }>
> = {
  ndjson: { type: "application/x-ndjson", head: "", encode: (message) => encodeMessageJson(message) + "\n" },
  csv: {
    type: "text/csv; charset=utf-8; header=present",
    head: encodeRow(COLUMNS),
    encode: encodeMessageRow,
  },
};

const UTF8 = new TextEncoder();

/** The headers of an export. */
export function exportHeaders(format: ExportFormat, { selector }: ReadOptions): Record<string, string> {
  const name = formatSelector(selector).replaceAll(/[^\w.-]+/g, "-").slice(0, 80) || "messages";
  const disposition = `attachment; filename="${name}.${format}"`;
  return { ...streamHeaders(FORMATS[format].type), "content-disposition": disposition };
}

/** Answers with what is stored after `since`, or from the beginning, up to `limit` messages. */
export function openExport(
  hub: Hub,
  format: ExportFormat,
  options: ReadOptions,
  connection: Pick<Connection, "release">,
): Response {
  const { selector, filter = {} } = options;
  const { head, encode } = FORMATS[format];
  let after: Cursor = options.since ?? { kind: "earliest" };
  let left = options.limit ?? Infinity;
  let isBegun = false;
  // What is stored while the export is read is not part of it: it ends.
  const { epoch, sequence } = hub.top;
  const end = () => connection.release();
  const body = new ReadableStream<Uint8Array<ArrayBuffer>>({
    start: (controller) => {
      if (head !== "") controller.enqueue(UTF8.encode(head));
    },
    async pull(controller) {
      try {
        while (true) {
          // Neither reading nor sending need wait for anything: others are served between two pages.
          if (isBegun) await nextSlice();
          isBegun = true;
          const page = await hub.read({ selector, after, limit: PAGE_MESSAGES, maxBytes: PAGE_BYTES });
          const known = page.messages.filter((message) =>
            message.epoch !== epoch || message.sequence <= sequence
          );
          const found = known.filter((message) => matchesFilter(message, filter)).slice(0, left);
          left -= found.length;
          after = page.next;
          const isOver = !page.more || left <= 0 || known.length < page.messages.length;
          if (found.length > 0) controller.enqueue(UTF8.encode(found.map(encode).join("")));
          if (isOver) {
            controller.close();
            return end();
          }
          if (found.length > 0) return;
        }
      } catch (error) {
        end();
        throw error;
      }
    },
    cancel: end,
  }, { highWaterMark: 0 });
  return new Response(body, { headers: exportHeaders(format, options) });
}

function encodeMessageRow(message: Message): string {
  const { channel, epoch, sequence, offset, time, event, from, payload } = message;
  return encodeRow([
    channel,
    formatId(epoch, sequence),
    String(offset),
    formatTime(time),
    event,
    from?.id,
    from?.name,
    from?.user,
    payload.kind === "text" ? payload.text : encodePayloadJson(payload),
  ]);
}

/** One record of RFC 4180. */
function encodeRow(fields: readonly (string | undefined)[]): string {
  return fields.map((field = "") => encodeField(field)).join(",") + "\r\n";
}

/** An apostrophe before a formula makes it text, as spreadsheets show it. */
function encodeField(field: string): string {
  const text = FORMULA.test(field) ? `'${field}` : field;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
