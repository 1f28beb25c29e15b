/** The `docs` task: writes the table of settings into the manual's page on configuration. A test asks whether it is stale. */
import { toFlag, toVariable } from "../lib/base/setting.ts";
import { OPTIONS } from "../lib/config/options.ts";
import type { Setting } from "../lib/base/setting.ts";

export const CONFIGURATION_PAGE = new URL("../static/docs/configuration.md", import.meta.url);

const SLOT = /(<!-- settings:[^>]*-->\n)[\s\S]*?(\n<!-- \/settings -->)/;

/** The page with the table as the settings are now. */
export function fillSettings(page: string): string {
  if (!SLOT.test(page)) throw new Error("configuration.md has no place for the table of settings");
  return page.replace(SLOT, (_, start: string, end: string) => `${start}\n${formatSettings()}\n${end}`);
}

function formatSettings(): string {
  const rows = Object.entries(OPTIONS).map(([key, setting]: [string, Setting<unknown>]) => {
    const flag = toFlag(key, setting);
    const usage = flag === undefined ? [] : [code(`--${flag} ${setting.value ?? ""}`.trimEnd())];
    const names = [...usage, code(toVariable(key, setting))].join(", ");
    const fallback = setting.fallback === undefined || setting.fallback === "" ? "" : code(setting.fallback);
    return [names, fallback, encodeCell(setting.help)];
  });
  const header = ["flag, variable", "default", "meaning"];
  return formatTable([header, header.map(() => "---"), ...rows]);
}

/** As `deno fmt` formats tables, so that it leaves this one alone. */
function formatTable(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map((row) => row[column]!.length)));
  return rows.map((row, i) =>
    `| ${
      row.map((cell, column) => i === 1 ? "-".repeat(widths[column]!) : cell.padEnd(widths[column]!)).join(
        " | ",
      )
    } |`
  ).join("\n");
}

function code(text: string): string {
  return `\`${encodeCell(text)}\``;
}

function encodeCell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll(/\*(?= )/g, "\\*");
}

if (import.meta.main) {
  await Deno.writeTextFile(CONFIGURATION_PAGE, fillSettings(await Deno.readTextFile(CONFIGURATION_PAGE)));
}
