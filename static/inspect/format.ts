/** How the inspector writes numbers, sizes, durations and moments. */

const WHOLE = new Intl.NumberFormat("en", { maximumFractionDigits: 0 });
const SHORT = new Intl.NumberFormat("en", { notation: "compact", maximumSignificantDigits: 3 });
const CLOCK = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit" });

export function formatCount(value: number): string {
  return WHOLE.format(value);
}

/** A rate or anything else of which three digits tell enough. */
export function formatShort(value: number): string {
  return SHORT.format(value);
}

export function formatBytes(bytes: number): string {
  const units = ["B", "KB", "MB", "GB"];
  let unit = 0;
  for (; bytes >= 1_000 && unit < units.length - 1; unit++) bytes /= 1_024;
  return `${SHORT.format(bytes)} ${units[unit]}`;
}

/** What takes a moment. */
export function formatMilliseconds(milliseconds: number): string {
  if (milliseconds > 0 && milliseconds < 1) return `${WHOLE.format(milliseconds * 1_000)} µs`;
  return milliseconds < 1_000
    ? `${SHORT.format(milliseconds)} ms`
    : `${SHORT.format(milliseconds / 1_000)} s`;
}

/** How long ago something was, such as "3 min". */
export function formatAge(since: number): string {
  return formatDuration((Date.now() - since) / 1_000);
}

/** What takes seconds or days. */
export function formatDuration(duration: number): string {
  const seconds = Math.max(0, Math.round(duration));
  if (seconds < 60) return `${seconds} s`;
  if (seconds < 3_600) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 86_400) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} d`;
}

export function formatTime(time: number): string {
  return CLOCK.format(time);
}
